package e2e

import (
	"bufio"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/config"
)

// TestMeshCannotKeepRosters: where a host's mesh process cannot write down a roster, apply says why it waits, status says
// it too, and both go on by themselves once there is room.
func TestMeshCannotKeepRosters(t *testing.T) {
	n := upAndSigning(t)
	rosters := filepath.Join(n.folder("s1"), "mesh", "rosters")
	if err := os.Rename(rosters, rosters+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rosters, nil, 0o600); err != nil { // as little can be written there as on a full disk
		t.Fatal(err)
	}
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n.edit(t, func(d *config.Deployment) {
		d.Devices = []config.Device{{Name: "laptop", Key: base64.StdEncoding.EncodeToString(key.PublicKey().Bytes())}}
	})
	c := n.command("apply", "--yes")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(patience+time.Minute, func() { _ = c.Process.Kill() })
	defer hung.Stop()
	var told []string
	mended := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		told = append(told, lines.Text())
		if mended || !strings.Contains(lines.Text(), "waiting for s1: its mesh process has not taken the roster: ") {
			continue
		}
		if s := n.runs(t, "status"); !s.has("s1: Its mesh process does not follow the newest roster: ") {
			t.Errorf("status does not say it: %v", s)
		}
		if err := os.Remove(rosters); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(rosters+".away", rosters); err != nil {
			t.Fatal(err)
		}
		mended = true
	}
	if err := c.Wait(); err != nil || !mended {
		t.Errorf("it says why: %v; %v\n%s", mended, err, strings.Join(told, "\n"))
	}
	n.noChanges(t)
}
