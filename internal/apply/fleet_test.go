package apply

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/remote"
	"github.com/pressenter/pressenter/internal/ssh"
	"github.com/pressenter/pressenter/internal/ssh/sshtest"
)

// fleet is many servers with real SSH, in this process. What runs behind it is not real: commands are answered in place of
// a shell, nothing is installed, and each agent is one of a farm.
type fleet struct {
	farm *farm
	root string

	mu              sync.Mutex
	working, most   int // commands that are no connection to an agent
	dialling, asked int // connections to agents that are being made
	servers         []*sshtest.Server
}

// standIn is one server of a fleet.
type standIn struct {
	*fleet
	host deployment.Host
}

func (f *fleet) begin(now, most *int) (done func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*now++
	*most = max(*most, *now)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		*now--
	}
}

// peak is how many commands ran at once since it was last asked.
func (f *fleet) peak() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.most
	f.most = 0
	return n
}

// facts are those of a server that fits.
var facts = fmt.Sprintf(`system=Linux %s
id=debian
version=12
pretty=Debian
systemd=252
memory_kb=8000000
cpus=2
disk_kb=90000000
nft=1
apt=1
`, map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH])

var hostCommand = regexp.MustCompile(`'?host'? '?(setup|confirm|dial|inspect)'?$`)

// answer stands for a shell.
func (m standIn) answer(line string, in io.Reader, out io.Writer) uint32 {
	fmt.Fprint(out, "\npressenter-pid 999999999\n")
	command := ""
	if found := hostCommand.FindStringSubmatch(line); found != nil {
		command = found[1]
	}
	if command == "dial" {
		return m.dial(in, out)
	}
	if strings.HasPrefix(line, "kill ") { // what a connection to an agent leaves: nothing was started
		return 0
	}
	defer m.begin(&m.working, &m.most)()
	_, _ = io.Copy(io.Discard, in)
	switch {
	case strings.Contains(line, "command -v sudo"):
		fmt.Fprintln(out, "root")
	case strings.Contains(line, "say now"):
		fmt.Fprint(out, facts)
	case strings.Contains(line, "uname"):
		fmt.Fprintln(out, strings.TrimPrefix(strings.SplitN(facts, "\n", 2)[0], "system="))
	case strings.Contains(line, "echo part $gz"):
		fmt.Fprintln(out, "part no -1 0 -")
	case strings.Contains(line, "sendScript"), strings.Contains(line, `mv -f -- "$part"`):
	case strings.Contains(line, "echo there"):
		fmt.Fprintln(out, map[bool]string{true: "there", false: "gone"}[m.up()])
	case command == "setup":
		_ = m.farm.StartAgent(context.Background(), m.host)
		fmt.Fprintln(out, `{"changed": [], "trial": true}`)
	case command == "confirm":
		fmt.Fprintln(out, "{}")
	default:
		return 127
	}
	return 0
}

func (m standIn) up() bool {
	m.farm.mu.Lock()
	defer m.farm.mu.Unlock()
	return m.farm.on[m.host.Folder] != nil
}

// dial joins a session with the agent's socket.
func (m standIn) dial(in io.Reader, out io.Writer) uint32 {
	done := m.begin(&m.dialling, &m.asked)
	c, err := net.Dial("unix", filepath.Join(m.host.Folder, api.SocketName))
	done()
	if err != nil {
		return 1
	}
	go func() {
		_, _ = io.Copy(c, in)
		_ = c.Close()
	}()
	_, _ = io.Copy(out, c)
	_ = c.Close()
	return 0
}

// newFleet is a session on an empty folder whose hosts are so many servers.
func newFleet(t *testing.T, n int) (*Session, *fleet) {
	t.Helper()
	s, farm := newFarm(t)
	root, err := os.MkdirTemp("", "f") // a socket's path is short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(root) })
	f := &fleet{farm: farm, root: root}
	key, signer := sshtest.WriteKey(t, t.TempDir(), "id_fleet", "")
	address := func(name string) string {
		m := standIn{f, deployment.Host{Name: name, Folder: filepath.Join(root, name)}}
		o := sshtest.Options{Stand: m.answer}
		o.Authorized = append(o.Authorized, signer.PublicKey())
		f.servers = append(f.servers, sshtest.Start(t, o))
		return "root@" + f.servers[len(f.servers)-1].Addr
	}
	s.Config.Provider = config.ProviderSSH
	s.Config.Validator.Address = address(config.ValidatorHost)
	s.Config.Sentries = nil
	for i := range n - 1 {
		name := fmt.Sprintf("s%d", i+1)
		s.Config.Sentries = append(s.Config.Sentries, config.Sentry{Name: name, Machine: config.Machine{Address: address(name), Public: fmt.Sprintf("192.0.2.%d", i+1)}})
	}
	servers := &remote.Provider{
		Exe: program(t), Deployment: "hub",
		Dialer: &ssh.Dialer{
			Pins: filepath.Join(t.TempDir(), "pins"), ConfigFile: ssh.NoFile, Agent: ssh.NoFile, Identities: []string{key},
			OnFirstContact: func(context.Context, ssh.Contact) error { return nil },
		},
	}
	t.Cleanup(servers.Close)
	s.Provider, s.PublicOf = ByPlace{Here: farm, Machines: servers}, servers.PublicOf
	return s, f
}

// program is a file that begins as one for this computer does.
func program(t *testing.T) string {
	t.Helper()
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Version: uint32(elf.EV_CURRENT), Ehsize: 64,
		Machine: uint16(map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]),
	}
	b, err := binary.Append(nil, binary.LittleEndian, h)
	must(t, err)
	return executable(t, b)
}

var numbered = regexp.MustCompile(`\bs[0-9]+\b`)

// TestFifty carries a validator and 49 sentries from bare servers to a deployment: few at a time, with one connection to
// each server that is kept, and one line for each step.
func TestFifty(t *testing.T) {
	const hosts = 50
	s, f := newFleet(t, hosts)
	must(t, s.Open())
	p, err := s.Plan(t.Context())
	must(t, err)
	if n := f.peak(); n > askedAtOnce*2 { // an agent is asked, and beside it whether there is a host
		t.Errorf("%d commands at once to see what is there, want at most %d", n, askedAtOnce*2)
	}
	lines := map[string]int{}
	var order []string
	running, most := 0, 0
	s.Progress = func(e Event) { // called by one at a time
		switch {
		case e.Step == nil:
		case !e.Done:
			running++
			most = max(most, running)
		default:
			running--
			line := fmt.Sprintf("%s: %s", e.Step.Where(), numbered.ReplaceAllString(e.Step.String(), "sN"))
			if _, is := e.Step.(plan.PublishRoster); is {
				line, _, _ = strings.Cut(line, ": admits")
			}
			if lines[line]++; lines[line] == 1 {
				order = append(order, line)
			}
			if e.Err != nil {
				t.Errorf("%s: %v", line, e.Err)
			}
		}
	}
	must(t, s.Do(t.Context(), p))
	if n := f.peak(); most > doneAtOnce || n > doneAtOnce {
		t.Errorf("%d steps and %d commands at once, want at most %d", most, n, doneAtOnce)
	}
	if p, err = s.Plan(t.Context()); err != nil || !p.Empty() {
		t.Errorf("left to do: %v, %v", p.Steps(), err)
	}
	if f.asked > askedAtOnce {
		t.Errorf("%d agents were dialled at once, want at most %d", f.asked, askedAtOnce)
	}
	for i, server := range f.servers {
		if n := server.Accepted(); n < 2 || n > 3 { // one that is kept, and the one that proves the way in after the set-up, or two
			t.Errorf("server %d was connected to %d times", i, n)
		}
	}
	if enrolled := len(f.farm.on); enrolled != hosts+len(s.have.World.Hosts) {
		t.Errorf("%d agents", enrolled)
	}
	fleetGolden(t, order, lines)
}

// fleetGolden compares what was shown, in the order in which each kind of line came first.
func fleetGolden(t *testing.T, order []string, lines map[string]int) {
	t.Helper()
	var b strings.Builder
	for _, line := range order {
		if lines[line] > 1 {
			fmt.Fprintf(&b, "%d × ", lines[line])
		}
		b.WriteString(line + "\n")
	}
	got := strings.Split(b.String(), "\n")
	slices.Sort(got) // those of one stage come in any order
	const path = "testdata/fifty.golden"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		must(t, os.WriteFile(path, []byte(strings.Join(got, "\n")), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if d := cmp.Diff(strings.Split(string(want), "\n"), got); d != "" {
		t.Errorf("%d kinds of lines (-want +got):\n%s", len(slices.Collect(maps.Keys(lines))), d)
	}
}
