package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/ssh"
	"github.com/pressenter/pressenter/internal/ssh/sshtest"
)

// stops is a provider, and a host of a role whose 'host stop' says what it is told to say.
func stops(t *testing.T, role roster.Role, says []byte) (*Provider, deployment.Host) {
	t.Helper()
	return stands(t, role, func(line string, out io.Writer) {
		switch {
		case strings.Contains(line, "stop"):
			_, _ = out.Write(says)
		case strings.Contains(line, "remove"):
			fmt.Fprintln(out, "{}")
		}
	})
}

// stands is a provider, and a host of a role on which commands do what stands for them.
func stands(t *testing.T, role roster.Role, does func(line string, out io.Writer)) (*Provider, deployment.Host) {
	t.Helper()
	key, signer := sshtest.WriteKey(t, t.TempDir(), "id_stands", "")
	o := sshtest.Options{Stand: func(line string, in io.Reader, out io.Writer) uint32 {
		fmt.Fprint(out, "\npressenter-pid 999999999\n")
		_, _ = io.Copy(io.Discard, in)
		if strings.Contains(line, "command -v sudo") {
			fmt.Fprintln(out, "root")
		} else {
			does(line, out)
		}
		return 0
	}}
	o.Authorized = append(o.Authorized, signer.PublicKey())
	p := &Provider{Deployment: "hub", Dialer: &ssh.Dialer{
		Pins: filepath.Join(t.TempDir(), "pins"), ConfigFile: ssh.NoFile, Agent: ssh.NoFile, Identities: []string{key},
		OnFirstContact: func(context.Context, ssh.Contact) error { return nil },
	}}
	t.Cleanup(p.Close)
	return p, deployment.Host{Name: "h", Role: role, Provider: deployment.ProviderSSH, Address: "root@" + sshtest.Start(t, o).Addr}
}

// What a host leaves is kept of a validator only: a sentry has no key, whatever it says.
func TestDestroyKeepsOfAValidatorOnly(t *testing.T) {
	says, err := json.Marshal(machine.Left{SignState: []byte("{}"), Backup: []byte("sealed")})
	if err != nil {
		t.Fatal(err)
	}
	for role, want := range map[roster.Role]bool{roster.RoleValidator: true, roster.RoleSentry: false} {
		p, h := stops(t, role, says)
		keep := filepath.Join(t.TempDir(), "removed", "h")
		if err := p.Destroy(t.Context(), h, keep); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(keep, "consensus_state.json")); (err == nil) != want {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// A host cannot fill our memory.
func TestHostSaysTooMuch(t *testing.T) {
	p, h := stops(t, roster.RoleSentry, bytes.Repeat([]byte(" "), api.MaxResponse+1))
	if err := p.Destroy(t.Context(), h, ""); err == nil || !strings.Contains(err.Error(), "said more than") {
		t.Errorf("%v", err)
	}
}
