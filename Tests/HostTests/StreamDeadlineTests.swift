import Kernel
import Primitives
import Service
import Testing

@testable import Adapter
@testable import LinkManager

@Suite(.timeLimit(.minutes(1))) struct StreamDeadlineTests {
  private static func stream() -> LocalStream {
    LocalStream(core: LocalStreamCore(limit: 1 << 10) { _ in })
  }

  @Test func aSiteThatIsSilentIsGivenUp() async throws {
    let stream = Self.stream()
    await #expect(throws: CommandFailure.self) {
      _ = try await stream.within(until: Clock.now + .milliseconds(50)) { try await stream.read() }
    }
    await #expect(throws: LocalStreamError.self) { _ = try await stream.read() }
  }

  @Test func aSiteThatNeverEndsIsGivenUp() async throws {
    let stream = Self.stream()
    await #expect(throws: CommandFailure.self) {
      try await stream.within(until: Clock.now + .milliseconds(50)) {
        // It always has another byte.
        while true {
          stream.core.receive([1])
          guard try await stream.read() != nil else { return }
        }
      }
    }
  }

  @Test func whatComesInTimeIsTaken() async throws {
    let stream = Self.stream()
    stream.core.receive([1, 2])
    let bytes = try await stream.within(until: Clock.now + .seconds(30)) { try await stream.read() }
    #expect(bytes == [1, 2])
    stream.core.receive([3])
    #expect(try await stream.read() == [3])
  }
}
