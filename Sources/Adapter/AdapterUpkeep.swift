import Kernel
import Primitives
import Tun

/// The device of a loop when it is not as it should be.
extension AdapterLoop where Device: ~Copyable {
  /// The device has failed. What can be opened anew is; otherwise the loop ends.
  mutating func lose(_ error: TunError) {
    guard let upkeep else {
      onFailure(error)
      isStopping = true
      return
    }
    guard nextOpening == nil else { return }
    // While it is open: another name for the same file would keep it in the poller, and its number is taken again.
    if let descriptor = device.descriptor { try? poller.remove(descriptor) }
    upkeep.report(.lost(error))
    nextOpening = now
    complaint = nil
  }

  /// Tries to get a lost device back, when it is time to.
  mutating func reopen() {
    guard let upkeep, let time = nextOpening, now >= time else { return }
    do throws(TunError) {
      let opened = try upkeep.open()
      // What is closed while a duplicate of it is open stays watched, and its number can't be watched again.
      if let lost = device.descriptor { try? poller.remove(lost) }
      if let descriptor = opened.descriptor { try watch(descriptor) }
      device = opened
      deviceIsReadable = true
      nextOpening = nil
      upkeep.report(.restored(name: upkeep.name))
    } catch {
      nextOpening = now + DeviceUpkeep<Device>.interval
      complain(error, upkeep)
    }
  }

  /// Somebody may have changed the device.
  mutating func repairDevice() {
    guard let upkeep, nextOpening == nil else { return }
    do throws(TunError) {
      let repairs = try upkeep.repair(device)
      complaint = nil
      if !repairs.isEmpty { upkeep.report(.repaired(repairs)) }
    } catch {
      if error.notFound { lose(error) } else { complain(error, upkeep) }
    }
  }

  /// Looks which networks the host is in now, and keeps aliases out of them.
  mutating func keepOutOfHostNetworks() {
    guard let upkeep, nextOpening == nil else { return }
    do throws(TunError) {
      let networks = try upkeep.networks(device)
      let moves = core.avoid(configuration.aliases.avoidable(networks), now: now)
      if !moves.isEmpty { upkeep.report(.moved(moves)) }
      let found = configuration.aliases.clash(with: networks)
      guard found != clash else { return }
      clash = found
      upkeep.report(.clash(found))
    } catch {
      complain(error, upkeep)
    }
  }

  private mutating func complain(_ error: TunError, _ upkeep: DeviceUpkeep<Device>) {
    guard complaint != error else { return }
    complaint = error
    upkeep.report(.failing(error))
  }

  private func watch(_ descriptor: CInt) throws(TunError) {
    do throws(SystemError) {
      try poller.add(descriptor, token: Self.deviceToken, for: [.readable, .edge])
    } catch {
      throw TunError(call: error.call, device: error.subject, cause: .system(error.code))
    }
  }
}
