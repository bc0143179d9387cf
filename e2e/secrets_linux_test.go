package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pressenter/pressenter/internal/lab"
)

// secret is something that nobody may read but where it is kept.
type secret struct {
	name      string
	spellings [][]byte
	kept      string // HOST:PATH or PATH; it has to be there, or nothing would be proven by its absence elsewhere
}

// keySecret is a secret of bytes, in every usual spelling.
func keySecret(name, kept string, key []byte) secret {
	text := base64.RawStdEncoding.EncodeToString(key)
	text = text[:len(text)-1] // the last digit depends on what follows in a longer key
	return secret{name, [][]byte{
		key, []byte(text), []byte(strings.NewReplacer("+", "-", "/", "_").Replace(text)),
		[]byte(hex.EncodeToString(key)), []byte(strings.ToUpper(hex.EncodeToString(key))),
	}, kept}
}

func textSecret(name, kept, text string) secret { return secret{name, [][]byte{[]byte(text)}, kept} }

// finder finds many secrets in one pass: hundreds of megabytes are looked through. A spelling begins with eight bytes, and a bit
// of their hash says whether a closer look is worth it.
type finder struct {
	begin [1 << 10]uint64
	all   map[uint64][]*secret
}

func newFinder(all []secret) *finder {
	f := &finder{all: map[uint64][]*secret{}}
	for i := range all {
		for _, spelling := range all[i].spellings {
			first := binary.LittleEndian.Uint64(spelling)
			f.begin[first*spread>>54] |= 1 << (first * spread >> 48 & 63)
			f.all[first] = append(f.all[first], &all[i])
		}
	}
	return f
}

const spread = 0x9e3779b97f4a7c15

// in returns those of the secrets that are in b.
func (f *finder) in(b []byte) map[*secret]bool {
	found := map[*secret]bool{}
	for ; len(b) >= 8; b = b[1:] {
		first := binary.LittleEndian.Uint64(b)
		if f.begin[first*spread>>54]&(1<<(first*spread>>48&63)) == 0 {
			continue
		}
		for _, s := range f.all[first] {
			if slices.ContainsFunc(s.spellings, func(spelling []byte) bool { return bytes.HasPrefix(b, spelling) }) {
				found[s] = true
			}
		}
	}
	return found
}

// commandLines collects, until it is stopped, how every process of this computer and of its labs was called.
func commandLines(t *testing.T) (stop func() []byte) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var done sync.WaitGroup
	seen := map[string]bool{}
	done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") //nolint:errcheck // the pattern is right
			for _, path := range lines {
				if b, err := os.ReadFile(path); err == nil {
					seen[string(b)] = true
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() []byte {
		cancel()
		done.Wait()
		return []byte(strings.Join(slices.Collect(maps.Keys(seen)), "\n"))
	}
}

// secretsOf reads what is secret of an operator and of hosts, by the deployment's names, from where it is kept.
func (s *servers) secretsOf(t *testing.T, hosts map[string]*lab.Host) []secret {
	t.Helper()
	var out []secret
	operator := s.state().Operator()
	var ring struct {
		Admin []byte `json:"admin_seed"`
		Age   []byte `json:"age_identity"`
		State []byte `json:"state_passphrase"`
	}
	file := filepath.Join(operator, "keyring.json")
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &ring)
	}
	if err != nil || len(ring.Admin) == 0 || len(ring.Age) == 0 || len(ring.State) == 0 {
		t.Fatalf("no keyring to look for: %v", err)
	}
	out = append(out, keySecret("the key that signs rosters", file, ring.Admin), keySecret("the key that opens backups", file, ring.Age),
		keySecret("the state's passphrase", file, ring.State))
	file = filepath.Join(operator, "ssh_key")
	if b, err := os.ReadFile(file); err == nil {
		out = append(out, textSecret("the SSH key of bought machines", file, strings.Split(string(b), "\n")[4])) // the seed is in this line
	}
	for name, h := range hosts {
		read := func(path string) []byte {
			b, err := h.Exec(t.Context(), "cat", path)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		comet := func(what, path string) {
			var f struct {
				Key struct{ Value []byte } `json:"priv_key"`
			}
			if err := json.Unmarshal(read(path), &f); err != nil || len(f.Key.Value) < 32 {
				t.Fatalf("%s of %s: %v", what, name, err)
			}
			out = append(out, keySecret(what+" of "+name, name+":"+path, f.Key.Value[:32]))
		}
		const folder = "/var/lib/pressenter"
		comet("the node key", folder+"/node/home/config/node_key.json")
		if name == "validator" {
			comet("the consensus key", folder+"/node/signing/consensus_key.json")
		}
		out = append(out, keySecret("the identity of "+name, name+":"+folder+"/agent/identity.key", read(folder+"/agent/identity.key")))
		for _, key := range []string{"tunnel.key", "relay.key"} {
			raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(read(folder + "/mesh/" + key))))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, keySecret("the mesh's "+key+" of "+name, name+":"+folder+"/mesh/"+key, raw))
		}
	}
	return out
}

// noLeaks looks for secrets in all that an operator and hosts have: files, logs, units, process lists, what commands printed, and
// what more is given. Each is where it is kept, and nowhere else.
func (s *servers) noLeaks(t *testing.T, all []secret, hosts map[string]*lab.Host, more map[string][]byte) {
	t.Helper()
	kept := map[string]bool{}
	find := newFinder(all)
	look := func(where string, b []byte) {
		for x := range find.in(b) {
			if x.kept == where {
				kept[x.name] = true
			} else {
				t.Errorf("%s is in %s", x.name, where)
			}
		}
	}
	for where, b := range more {
		look(where, b)
	}
	look("what the commands printed", s.printed())
	read := 0
	err := filepath.WalkDir(s.base, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.Contains(path, "/store/") { // programs, by content
			var b []byte
			b, err = os.ReadFile(path)
			look(path, b)
			read += len(b)
		}
		if errors.Is(err, fs.ErrNotExist) { // the nodes that run here remove files
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range hosts {
		read += lookAtHost(t, name, h, look)
	}
	for _, x := range all {
		if x.kept != "" && !kept[x.name] {
			t.Errorf("%s is not in %s, so it was not looked for", x.name, x.kept)
		}
	}
	t.Logf("looked for %d secrets in %d MB", len(all), read>>20)
}

// lookAtHost shows all of a server but what its image came with and programs: files, the journal, and how processes were called and
// with which environment.
func lookAtHost(t *testing.T, name string, h *lab.Host, look func(where string, b []byte)) (read int) {
	t.Helper()
	said := func(where, script string) {
		b, err := h.Exec(t.Context(), "sh", "-c", script)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			t.Errorf("%s of %s is empty", where, name)
		}
		read += len(b)
		look(name+": "+where, b)
	}
	said("the journal", "journalctl --no-pager --all --output=cat")
	said("processes", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; :")
	said("units", "systemctl cat 'pressenter-*' && systemctl show 'pressenter-*'")
	c, err := h.Command(t.Context(), "tar", "-c", "--ignore-failed-read", "--warning=none", "--exclude=/var/lib/pressenter/store",
		"--exclude=/var/lib/apt", "--exclude=/var/lib/dpkg", "--exclude=/var/cache", "/etc", "/var", "/run", "/root", "/home", "/tmp", "/usr/local")
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(out); ; {
		f, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("files of %s: %v", name, err)
		}
		b, err := io.ReadAll(files)
		if err != nil {
			t.Fatalf("files of %s: %v", name, err)
		}
		read += len(b)
		look(name+":/"+strings.TrimPrefix(f.Name, "/"), b)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = c.Wait() // 1 where a file changed while it was read
	return read
}

// asked runs a command of the network at a terminal of its own, and answers its one question.
func (n *network) asked(t *testing.T, answer string, args ...string) string {
	t.Helper()
	c := n.command(args...)
	person, terminal := openTerminal(t)
	c.Stdin, c.Stdout, c.Stderr = terminal, terminal, terminal
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err := c.Start()
	_ = terminal.Close() // so that reading ends with the command
	if err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer hung.Stop()
	var said bytes.Buffer
	for b, answered := make([]byte, 4096), false; ; {
		k, err := person.Read(b)
		if said.Write(b[:k]); err != nil {
			break
		}
		if !answered && bytes.Contains(said.Bytes(), []byte("Passphrase")) {
			answered = true
			eventually(t, "a terminal that shows nothing of what is typed", func() error { // a person is not that quick
				set, err := unix.IoctlGetTermios(int(person.Fd()), unix.TCGETS)
				if err == nil && set.Lflag&unix.ECHO != 0 {
					err = errors.New("it shows it")
				}
				return err
			})
			_, _ = person.WriteString(answer + "\n") // if nobody reads it, the command ends badly
		}
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, said.String())
	}
	n.remember(said.Bytes())
	return said.String()
}

// openTerminal returns both sides of a new terminal: that of the person before it and that of programs.
func openTerminal(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	fd := int(person.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, terminal
}

// hasPassphrase gives the operator's SSH key one, as a person would.
func (s *servers) hasPassphrase(t *testing.T) (passphrase string) {
	t.Helper()
	config := filepath.Join(s.home(), ".ssh", "config")
	b, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(s.home(), ".ssh", "id_locked")
	open, err := os.ReadFile(s.lab.Key)
	if err == nil {
		err = os.WriteFile(key, open, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	passphrase = "open sesame " + strconv.FormatInt(time.Now().UnixNano(), 36)
	if said := ended(t, exec.Command("ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f", key)); said.code != 0 {
		t.Fatal(said)
	}
	if err := os.WriteFile(config, bytes.ReplaceAll(b, []byte(s.lab.Key), []byte(key)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(config, b, 0o600); err != nil {
			t.Error(err)
		}
	})
	return passphrase
}

func TestFinder(t *testing.T) {
	key := bytes.Repeat([]byte{7, 250, 33, 128}, 8)
	all := []secret{keySecret("key", "", key), textSecret("word", "", "open sesame")}
	f := newFinder(all)
	for _, spelling := range append(all[0].spellings, all[1].spellings...) {
		for _, b := range [][]byte{spelling, append([]byte("x"), spelling...), append([]byte("between"), append(spelling, "words"...)...)} {
			if len(f.in(b)) != 1 {
				t.Errorf("%q was not found in %q", spelling, b)
			}
		}
		if len(f.in(spelling[:len(spelling)-1])) != 0 {
			t.Errorf("%q was found where it is not whole", spelling)
		}
	}
}

func BenchmarkFinder(b *testing.B) {
	var all []secret
	for i := range 40 {
		all = append(all, keySecret("key", "", bytes.Repeat([]byte{byte(i), 1, 2, 3}, 8)))
	}
	f, data := newFinder(all), bytes.Repeat([]byte("a log says little, and says it often\n"), 1<<15)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		f.in(data)
	}
}
