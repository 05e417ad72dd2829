public import Proxy

/// What waits in a session, as `status` tells it. In bytes but for the frames.
public struct QueueReport: Codable, Hashable, Sendable {
  public var controlFrames: Int
  public var payload: Int
  public var sealed: Int
  public var kernel: Int
  public var held: Int
  public var windows: Int

  public init(_ queues: SessionQueues) {
    controlFrames = queues.controlFrames
    payload = queues.payload
    sealed = queues.sealed
    kernel = queues.kernel
    held = queues.held
    windows = queues.windows
  }

  public var text: String {
    func bytes(_ count: Int) -> String { Quantity.bytes(UInt64(clamping: count)) }
    return "waiting: \(controlFrames) control frames, \(bytes(payload)) to seal, \(bytes(sealed)) to send, "
      + "\(bytes(kernel)) in the kernel, \(bytes(held)) to deliver; windows \(bytes(windows))"
  }
}
