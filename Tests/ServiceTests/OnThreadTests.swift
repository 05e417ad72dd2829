import Glibc
import Testing

@testable import Service

@Suite struct OnThreadTests {
  @Test func workIsDoneElsewhereAndFailsAsItDoes() async throws {
    let own = pthread_self()
    let other = try await onThread { () throws(CommandFailure) in pthread_self() }
    #expect(other != own)
    await #expect(throws: CommandFailure.self) {
      try await onThread { () throws(CommandFailure) -> Int in throw CommandFailure(.data, "no") }
    }
  }
}
