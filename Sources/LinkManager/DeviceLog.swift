import Adapter
import Logging

extension DeviceEvent {
  /// Writes what became of the device to a log.
  func record(in log: Logger) {
    switch self {
    case .lost(let error): log.error("the device is lost, and made anew", metadata: ["reason": "\(error)"])
    case .restored(let name): log.notice("the device is back", metadata: ["device": "\(name)"])
    case .repaired(let repairs):
      let text = repairs.map(\.description).joined(separator: ", ")
      log.warning("somebody changed the device: it is as it has to be again", metadata: ["repaired": "\(text)"])
    case .failing(let error): log.error("the device can't be put right", metadata: ["reason": "\(error)"])
    case .moved(let moves):
      for move in moves {
        log.warning("this PC's network has an agent's address: it has another now", metadata: ["agent": "\(move)"])
      }
    case .clash(let clash?):
      log.error("aliases and this PC's network clash", metadata: ["reason": "\(clash.advice)"])
    case .ethernet(let agent, let device, let what):
      log.notice("\(what)", metadata: ["agent": "\(agent)", "device": "\(device)"])
    case .clash(nil): log.notice("aliases and this PC's network no longer clash")
    }
  }
}

extension AdapterError {
  /// What is wrong, and what to do about it with this program.
  var advice: String {
    guard case .aliasClash(let pool, _) = self else { return description }
    let option = pool.address.family == .v4 ? "--alias-pool" : "--alias-pool-v6"
    return "\(description), with `linkmanager run \(option) PREFIX`"
  }
}
