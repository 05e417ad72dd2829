import Foundation
import Testing

extension WholeSystem {
  /// Devices that no address leads to: found and mended from the PC, over a session like any other.
  @Suite struct FindingDevices {
    private struct Answer: Decodable {
      struct Agent: Decodable {
        var devices: [Device]
        var remarks: [String]
      }
      struct Device: Decodable {
        var mac: String
        var name: String?
        var vendor: String?
        var kind: String?
        var addresses: [String]
        var location: String?
        var methods: [String]
        var problems: [String]
      }
      var agents: [Agent]
    }

    /// A world whose devices are those of lan_devices.py as well, with an agent that permits all of it and one that
    /// permits little.
    private func withDevices(_ body: (World) throws -> Void) throws {
      try World.run { world in
        try world.require(
          """
          start lan-devices device-a /usr/bin/python3 $root/Demo/programs/lan_devices.py lan
          cat >>$state/site-a.yaml <<'END'
            - name: cell
              interface: lan
              discovery: all
              assignment: true
            - name: look
              interface: lan
              discovery: [dcp, lldp]
          END
          briefly site-a $bin/sitemanager reload --directory $state/site-a || exit 1
          lm disconnect site-a && eventually 20 connect_once site-a || exit 1
          eventually 20 grep -q listening $state/log/lan-devices
          """)
        try body(world)
      }
    }

    private func discover(_ options: String, _ world: World) throws -> (Answer.Agent, [String: Answer.Device]) {
      let output = try world.require("lm discover \(options) --json")
      let answer = try JSONDecoder().decode(Answer.self, from: Data(output.text.utf8))
      let agent = try #require(answer.agents.first)
      return (agent, Dictionary(agent.devices.map { ($0.mac, $0) }, uniquingKeysWith: { first, _ in first }))
    }

    @Test("devices with, without and with foreign addresses are found, and are given names and addresses")
    func findAndMend() throws {
      try withDevices { world in
        let (agent, found) = try discover("site-a/cell --seconds 4 --range 10.20.30.0/24", world)
        #expect(agent.remarks.isEmpty, "\(agent.remarks)")
        let plc = found["00:0e:8c:00:00:01"]
        #expect(plc?.name == "plc-1" && plc?.vendor == "Siemens" && plc?.kind == "S7-1200", "\(found)")
        #expect(plc?.addresses == ["192.168.10.51"] && plc?.problems == [] && plc?.methods == ["dcp", "arp"])
        let lost = found["00:a0:45:00:00:02"]
        #expect(lost?.problems == ["noAddress"] && lost?.vendor == "Phoenix Contact" && lost?.name == nil)
        let foreign = found["00:01:05:00:00:03"]
        #expect(foreign?.problems == ["foreignSubnet"] && foreign?.addresses == ["10.20.30.40"])
        #expect(foreign?.methods == ["dcp", "arp"], "it answers a question by ARP of one who has no address there")
        let adapter = found["00:00:bc:00:00:04"]
        #expect(adapter?.name == "1756-EN2T/A" && adapter?.vendor == "Rockwell Automation")
        #expect(adapter?.methods == ["enip", "arp"] && adapter?.addresses == ["192.168.10.52"])
        let printer = found["02:00:00:00:00:05"]
        #expect(printer?.name == "label-printer" && printer?.kind == "ipp" && printer?.methods == ["mdns", "arp"])
        let panel = found["02:00:00:00:00:06"]
        #expect(panel?.kind == "Linux/5 UPnP/1.0 Panel/2" && panel?.methods == ["ssdp", "arp"])
        #expect(panel?.location == "http://192.168.10.54:80/description.xml")
        #expect(found["02:00:00:00:00:07"]?.methods == ["arp"])
        #expect(found["02:00:00:00:00:08"]?.problems == ["foreignSubnet"])
        #expect(found["00:80:63:00:00:09"]?.name == "cell-switch" && found["00:80:63:00:00:09"]?.vendor == "Hirschmann")

        let table = try world.require("lm discover site-a/look --seconds 2 --methods dcp").text
        #expect(table.contains("no IP address") && table.contains("IP of another subnet"), "\(table)")
        print(table)

        try world.expect("lm assign site-a/cell 00:a0:45:00:00:02 --name cell-io")
        // Without an agent, the one that permits it is meant.
        try world.expect("lm assign site-a 00:a0:45:00:00:02 --ip 192.168.10.60/24 --gateway 192.168.10.1")
        try world.expect("lm assign site-a 00:01:05:00:00:03 --ip 192.168.10.61/24 --temporary")
        let (_, mended) = try discover("site-a/cell --seconds 2 --methods dcp", world)
        #expect(mended["00:a0:45:00:00:02"]?.name == "cell-io" && mended["00:a0:45:00:00:02"]?.problems == [])
        #expect(mended["00:a0:45:00:00:02"]?.addresses == ["192.168.10.60"])
        #expect(mended["00:01:05:00:00:03"]?.addresses == ["192.168.10.61"])
        // The site's operator can see who it was.
        try world.expect("logged site-a 'assignment to a device.*technician' 3")
      }
    }

    @Test("what isn't permitted, isn't there or isn't wanted by the device is refused with its reason")
    func refusals() throws {
      try withDevices { world in
        func refused(_ command: String, _ status: Int32, _ reason: String) throws {
          let output = try world.run("lm \(command)")
          #expect(output.status == status && output.text.contains(reason), "\(command): \(output)")
        }
        try refused("assign site-a/look 00:a0:45:00:00:02 --name cell-io", 77, "assignment: true")
        try refused("discover site-a/look --methods ssdp --seconds 1", 77, "doesn't permit ssdp")
        try refused("discover site-a/web --seconds 1", 77, "no interface of the site")
        try refused("discover site-a/nothing --seconds 1", 64, "no agent nothing")
        try refused("discover site-b --seconds 1", 65, "linkmanager connect site-b")
        try refused("assign site-a 00:0e:8c:00:00:01 --ip 192.168.10.62/24", 75, "in operation")
        try refused("assign site-a 02:00:00:00:00:77 --name nobody", 75, "doesn't answer")
        try refused("assign site-a 00:a0:45:00:00:02 --name Cell_IO", 64, "letters a to z")
        try refused("assign site-a 00:a0:45:00:00:02 --ip 192.168.10.255/24", 64, "a host's")
        try refused("discover site-a --methods foo", 64, "there is no foo")
        let (_, after) = try discover("site-a/cell --seconds 2 --methods dcp", world)
        #expect(after["00:a0:45:00:00:02"]?.name == nil && after["00:a0:45:00:00:02"]?.problems == ["noAddress"])
        #expect(after["00:0e:8c:00:00:01"]?.addresses == ["192.168.10.51"])
      }
    }
  }
}
