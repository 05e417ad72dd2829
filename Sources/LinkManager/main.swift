import Kernel
import Proxy
import Service

SignalDescriptor.ignoreBrokenPipes()
do {
  var command = try LinkManagerCommand.parseAsRoot()
  try command.run()
} catch let failure as CommandFailure {
  failure.exit(of: "linkmanager")
} catch let error as ManagementError {
  CommandFailure(error.exitCode, "\(error)").exit(of: "linkmanager")
} catch let error as ManagementSocketError {
  CommandFailure(.unavailable, "\(error)").exit(of: "linkmanager")
} catch let error as SystemError {
  CommandFailure(error).exit(of: "linkmanager")
} catch let error as GateError {
  CommandFailure(error).exit(of: "linkmanager")
} catch {
  LinkManagerCommand.exit(withError: error)
}
