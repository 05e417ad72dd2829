import Primitives
import Testing

@testable import Proxy

@Suite struct FTPControlTests {
  private func events(_ control: inout FTPControl, client: String = "", device: String = "") -> [FTPControl.Event] {
    control.receiveCommands(Array(client.utf8).span)
    var events: [FTPControl.Event] = []
    while let event = control.nextEvent() { events.append(event) }
    control.receiveReplies(Array(device.utf8).span)
    while let event = control.nextEvent() { events.append(event) }
    return events
  }

  @Test func onlyWhatTheClientAskedForIsAnnounced() {
    var control = FTPControl()
    let reply = "227 Entering Passive Mode (192,168,10,10,195,149)\r\n"
    #expect(events(&control, client: "NOOP\r\n", device: reply) == [])
    #expect(events(&control, client: "PASV\r\n", device: reply + reply) == [.passive(port: 50_069)])
    #expect(events(&control, client: "EPSV\r\n", device: "229 ok (|||2000|)\r\n") == [.passive(port: 2000)])
    // Commands that are sent ahead of their replies.
    #expect(
      events(&control, client: "CWD x\r\nPASV\r\nLIST\r\n", device: "250 ok\r\n" + reply) == [.passive(port: 50_069)])
  }

  @Test func servicesOfTheDeviceAreNoDataConnections() {
    var control = FTPControl()
    #expect(events(&control, client: "EPSV\r\n", device: "229 ok (|||1023|)\r\n") == [])
    #expect(events(&control, client: "PASV\r\n", device: "227 (192,168,10,10,0,80)\r\n") == [])
  }

  @Test func encryptionEndsIt() {
    var control = FTPControl()
    #expect(events(&control, client: "AUTH TLS\r\n", device: "234 go\r\n") == [])
    #expect(events(&control, client: "PORT 1,2,3,4,5,6\r\nPASV\r\n", device: "227 (192,168,10,10,195,149)\r\n") == [])
    #expect(control.takeCommands() == Array("AUTH TLS\r\nPORT 1,2,3,4,5,6\r\nPASV\r\n".utf8))
  }

  @Test func aDecisionReleasesWhatWaits() {
    var control = FTPControl(alias: IPAddress(198, 18, 55, 6))
    let client = Endpoint(IPAddress(198, 18, 0, 1), 5001)
    #expect(events(&control, client: "PORT 198,18,0,1,19,137\r\nRETR a\r\n") == [.active(client)])
    #expect(control.takeCommands() == [] && control.heldCommands == 32)
    control.decide(.replace(Endpoint(IPAddress(192, 168, 10, 1), 50_000)))
    #expect(control.takeCommands() == Array("PORT 192,168,10,1,195,80\r\nRETR a\r\n".utf8))
    #expect(control.heldCommands == 0)
  }

  @Test func awaitedRepliesAreBounded() {
    var control = FTPControl()
    let asked = String(repeating: "PASV\r\n", count: 100)
    let answered = String(repeating: "227 (192,168,10,10,195,149)\r\n", count: 100)
    #expect(events(&control, client: asked, device: answered).count == 4)
  }
}
