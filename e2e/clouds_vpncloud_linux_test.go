package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/lab"
)

// vpnCloudHere is the folder of the vpncloud that build/rigs.sh made, or that is in PATH; it skips t where there is none.
func vpnCloudHere(t *testing.T) string {
	t.Helper()
	need(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(cache, "pressenter", "vpncloud-2.3.0", "bin")
	if _, err := os.Stat(filepath.Join(made, "vpncloud")); err == nil {
		return made
	}
	path, err := exec.LookPath("vpncloud")
	if err != nil {
		t.Skip("there is no vpncloud here: run 'sh build/rigs.sh', which builds it where there is cargo")
	}
	return filepath.Dir(path)
}

// TestCloudsVpnCloud is TestClouds over a mesh of vpncloud, without a move, and through what happens to such a mesh.
func TestCloudsVpnCloud(t *testing.T) {
	program := vpnCloudHere(t)
	s := onServers(t, lab.Options{Hosts: 2})
	dc, socket := openDatacentre(t, s.lab)
	clouds := fakeClouds(t, socket)
	with := func(path string) []string { return append([]string{"PATH=" + path + os.Getenv("PATH")}, clouds...) }
	d := config.Practice("clouds")
	d.Provider, d.Validator.Region = "hetzner", "fsn1"
	d.Mesh.Driver = config.MeshVpnCloud
	d.Sentries = []config.Sentry{
		{Name: "s1", Machine: config.Machine{Region: "nbg1"}},
		{Name: "s2", Machine: config.Machine{Provider: "vultr", Region: "waw"}},
		{Name: "s3", Machine: config.Machine{Provider: "ssh", Address: "h2"}},
	}
	s.write(t, d)
	if s.env = clouds; !strings.Contains(os.Getenv("PATH"), program) {
		s.refuses(t, []string{"no such program is here"}, "plan")
	}
	s.env = with(program + ":")
	if said := s.does(t, "plan"); !said.has("cannot hide the validator's") {
		t.Errorf("nothing about what vpncloud tells in\n%v", said)
	}
	if said := s.does(t, "apply", "--yes"); !said.has("is signed by validator") {
		t.Errorf("nothing about a signature in\n%v", said)
	}
	s.env = clouds // what is on the servers is what counts from now on
	s.noChanges(t)
	s.goesOn(t)
	validator, s3 := sold(t, dc, "validator"), s.lab.Host("h2")

	t.Run("it is confined", func(t *testing.T) { confined(t, validator, s3) })
	t.Run("status", func(t *testing.T) {
		if said := s.does(t, "status"); !said.has("it cannot hide the validator's", "any member can send under the mesh address of any other") {
			t.Errorf("%v", said)
		}
		if said := s.does(t, "mesh", "status", "--why"); !said.has("vpncloud 2.") {
			t.Errorf("%v", said)
		}
	})
	t.Run("the validator's server reboots", func(t *testing.T) {
		keepsAddresses(t, validator)
		if err := validator.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.goesOn(t)
	})
	t.Run("to WireGuard and back", func(t *testing.T) {
		for _, driver := range []string{config.MeshWireGuard, config.MeshVpnCloud} {
			d.Mesh.Driver = driver
			s.write(t, d)
			s.env = with(program + ":")
			if said := s.does(t, "apply", "--yes"); !said.has("its keys for "+driver+" are born there", "is signed by validator") {
				t.Errorf("%v", said)
			}
			if driver == config.MeshWireGuard {
				left, err := s3.Exec(t.Context(), "sh", "-c", "ls -d /dev/shm/pressenter* /var/lib/pressenter/mesh/vpncloud/*.yaml 2>/dev/null; pgrep -l vpncloud; :")
				if err != nil || len(left) > 0 {
					t.Errorf("%v, left of vpncloud on s3:\n%s", err, left)
				}
			}
		}
		s.noChanges(t)
	})
}

// sold is the server that a cloud made of a host.
func sold(t *testing.T, dc *datacentre, name string) *lab.Host {
	t.Helper()
	dc.mu.Lock()
	defer dc.mu.Unlock()
	for key, h := range dc.sold {
		if strings.HasSuffix(key, "-"+name) {
			return h
		}
	}
	t.Fatalf("no cloud has sold %s: %v", name, dc.sold)
	return nil
}

// keepsAddresses lets a server have the addresses that it has now after a reboot too, as cloud-init would.
func keepsAddresses(t *testing.T, h *lab.Host) {
	t.Helper()
	out, err := h.Exec(t.Context(), "sh", "-ec", `cd /etc/systemd/system
{ echo '[Unit]'; echo 'After=network.target'; echo '[Service]'; echo 'Type=oneshot'
ip -o -4 addr show scope global | awk '{print "ExecStart=-/usr/sbin/ip addr replace " $4 " dev " $2}'
echo '[Install]'; echo 'WantedBy=multi-user.target'; } >addresses.service
systemctl enable addresses.service`)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// confined checks that vpncloud runs on hosts as the mesh's user, in its unit's sandbox, with no more rights than to make
// a network device, and that the device is the mesh's filter's.
func confined(t *testing.T, hosts ...*lab.Host) {
	t.Helper()
	for _, h := range hosts {
		out, err := h.Exec(t.Context(), "sh", "-ec", `pid=$(pgrep -x vpncloud)
cat /proc/$pid/cgroup /proc/$pid/status
ps -o user= -p $pid
tr '\0' ' ' </proc/$pid/cmdline; tr '\0' ' ' </proc/$pid/environ
ip -6 addr show dev pressenter
nft list table inet pressenter_mesh
nft list table inet pressenter_underlay
ls -l /proc/$pid/exe`)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{
			"pressenter-mesh.service", "pressenter-mesh\n", "NoNewPrivs:\t1", "Seccomp:\t2",
			fmt.Sprintf("CapPrm:\t%016x", 1<<12), // CAP_NET_ADMIN, and not the unit's CAP_NET_BIND_SERVICE
			"/var/lib/pressenter/store/", "inet6 fd", `"pressenter"`,
		} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: no %q in\n%s", h.Name, want, out)
			}
		}
	}
}
