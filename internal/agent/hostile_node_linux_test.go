package agent_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/lab"
	"github.com/pressenter/pressenter/internal/machine"
)

// A daemon that somebody took over can put anything in its folder. It leads root nowhere, and holds nothing up.
func TestHostileNode(t *testing.T) {
	s := newServer(t, lab.Bookworm)
	s.mustSetup(machine.Spec{})
	s.enroll()
	s.until("running", runs)
	const home, node = machine.Folder + "/node/home", machine.Folder + "/node"
	// What root has is what init made, so that the agent would write it if it could.
	s.sh("mkdir -m 755 /srv/victim && cp " + home + "/cosmovisor/genesis/bin/stubd /tmp && /tmp/stubd init v1 --home /tmp/made 2>/dev/null && " +
		"cp /tmp/made/config/* /srv/victim && cp " + node + "/node.json " + node + "/signing/* /srv/victim && chmod 644 /srv/victim/* && " +
		"systemd-run --quiet --unit=victim sleep infinity")
	const all = "cd /srv/victim && find . -printf '%p %u %m %T@\n' | sort && sha256sum *"
	before := s.sh(all)
	victim := s.main("victim.service")
	asNode := func(script string) { s.sh("runuser -u " + machine.NodeUser + " -- sh -ec '" + script + "'") }
	unharmed := func(t *testing.T) {
		t.Helper()
		if after := s.sh(all); after != before {
			t.Errorf("root's folder was changed from\n%s\nto\n%s", before, after)
		}
		s.sh(fmt.Sprintf("kill -0 %d", victim))
		if left := s.sh("find " + node + " -user root"); left != "" {
			t.Errorf("root's, in the node's folder: %s", left)
		}
	}
	turn := func(t *testing.T) { // the agent writes what the node reads, and goes on answering
		t.Helper()
		before := s.until("answering", func(st api.HostStatus) bool { return true })
		for range 2 { // what it repairs twice, it has repaired with a whole turn in between
			s.sh("chmod 750 " + machine.Folder + "/mesh; until [ $(stat -c %a " + machine.Folder + "/mesh) = 700 ]; do sleep 0.1; done")
		}
		after := s.until("answering", func(st api.HostStatus) bool { return true })
		if before.Agent.PID != after.Agent.PID || after.Agent.RSSBytes > 200<<20 {
			t.Errorf("the agent %d of %d bytes became %d of %d bytes", before.Agent.PID, before.Agent.RSSBytes, after.Agent.PID, after.Agent.RSSBytes)
		}
	}
	for name, c := range map[string]struct{ do, undo string }{
		"folders are links":          {"mv %h/config %h/c; ln -s /srv/victim %h/config", "rm %h/config; mv %h/c %h/config"},
		"signing is a link":          {"mv %n/signing %n/s; ln -s /srv/victim %n/signing", "rm %n/signing; mv %n/s %n/signing"},
		"files are links":            {"rm %n/node.json; ln -s /srv/victim/node.json %n/node.json; ln -sf /srv/victim/config.toml %h/config/config.toml", "rm -f %n/node.json %h/config/config.toml; cp /tmp/config.toml %h/config/"},
		"files never end":            {"ln -sf /dev/zero %h/config/config.toml; ln -sf /dev/zero %n/node.report.json", "rm -f %h/config/config.toml; cp /tmp/config.toml %h/config/"},
		"files are pipes":            {"rm -f %h/config/app.toml %h/config/genesis.json; mkfifo %h/config/app.toml %h/config/genesis.json", "rm %h/config/app.toml %h/config/genesis.json; cp /tmp/app.toml %h/config; echo {} | tr -d \"\\n\" >%h/config/genesis.json"},
		"files are huge":             {"mv %h/config/genesis.json /tmp/; truncate -s 1T %h/config/genesis.json; truncate -s 1T %h/config/addrbook.json", "rm %h/config/addrbook.json; cp /tmp/genesis.json %h/config/"},
		"locks name somebody else's": {"echo %v >%n/supervisor.lock; echo %v >%n/home.lock", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			id := fmt.Sprintf("{\"name\":\"x\",\"process\":{\"pid\":%d,\"start\":%q,\"boot\":%q},\"note\":{}}", victim,
				s.sh(fmt.Sprintf("sed \"s/.*) //\" /proc/%d/stat | cut -d ' ' -f 20", victim)), s.sh("cat /proc/sys/kernel/random/boot_id"))
			fill := strings.NewReplacer("%h", home, "%n", node, "%v", strings.ReplaceAll(id, "\"", "\\\"")).Replace
			s.sh("cp " + home + "/config/*.toml /tmp && chmod 666 /tmp/*.toml")
			asNode(fill(c.do))
			turn(t)
			unharmed(t)
			asNode(fill(c.undo))
		})
	}
	// Stopping ends what is of the node, and nobody that its files name.
	if _, err := s.agent().SetIntent(t.Context(), api.Intent{Stopped: true, By: "test"}); err != nil {
		t.Fatal(err)
	}
	s.until("stopped", func(st api.HostStatus) bool { return st.Node.SupervisorPID == 0 && st.Node.DaemonPID == 0 })
	unharmed(t)
	if left := s.sh("pgrep -u " + machine.NodeUser + " || :"); left != "" {
		t.Errorf("of the node still run: %s", left)
	}
}
