internal import Kernel

/// Does work that may wait, such as for names that are looked up, on a thread of its own: it holds up neither an actor nor
/// the threads that tasks share.
public func onThread<Value: Sendable>(
  _ work: @escaping @Sendable () throws(CommandFailure) -> Value
) async throws(CommandFailure) -> Value {
  let outcome: Result<Value, CommandFailure> = await withCheckedContinuation { continuation in
    do throws(SystemError) {
      _ = try Thread(name: "work") { continuation.resume(returning: Result(catching: work)) }
    } catch {
      continuation.resume(returning: .failure(CommandFailure(error)))
    }
  }
  return try outcome.get()
}
