import Adapter
import Kernel
import Primitives
import Service

extension LocalStream {
  /// Seconds that a site has for an answer, besides the time that the work itself takes.
  static let patience = Interval.seconds(15)

  /// Does something with the stream, and cuts it if that hasn't ended in time: a site may accept a stream and be silent.
  ///
  /// - Throws: `CommandFailure` then, and what `work` throws.
  func within<Value: Sendable>(
    until deadline: Instant, _ work: @Sendable () async throws -> Value
  ) async throws -> Value {
    let left = (deadline - Clock.now).nanoseconds
    let timer: Task<Bool, Never> = Task {
      do { try await Task.sleep(for: .nanoseconds(max(0, left))) } catch { return false }
      self.reset()
      return true
    }
    let result: Result<Value, any Error>
    do { result = .success(try await work()) } catch { result = .failure(error) }
    timer.cancel()
    let isCut = await timer.value
    // What always has bytes at once wins against any timer.
    if isCut || Clock.now >= deadline {
      reset()
      throw CommandFailure(.unavailable, "the site accepted the request and didn't answer it in time")
    }
    return try result.get()
  }
}
