import Kernel
import Service

SignalDescriptor.ignoreBrokenPipes()
do {
  var command = try LinkManagerCommand.parseAsRoot()
  try command.run()
} catch let failure as CommandFailure {
  failure.exit(of: "linkmanager")
} catch {
  LinkManagerCommand.exit(withError: error)
}
