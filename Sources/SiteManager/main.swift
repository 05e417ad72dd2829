import Kernel
import Service

SignalDescriptor.ignoreBrokenPipes()
do {
  var command = try SiteManagerCommand.parseAsRoot()
  try command.run()
} catch let failure as CommandFailure {
  failure.exit(of: "sitemanager")
} catch let error as ManagementError {
  CommandFailure(error.exitCode, "\(error)").exit(of: "sitemanager")
} catch {
  SiteManagerCommand.exit(withError: error)
}
