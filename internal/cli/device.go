package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
	"github.com/pressenter/pressenter/internal/underlay"
	"github.com/pressenter/pressenter/internal/wireguard"
)

// newMeshExportCmd brings stock WireGuard into the mesh.
func newMeshExportCmd(g *global) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "export NAME", Short: "Write the WireGuard configuration of a device that looks on, such as a laptop", Args: cobra.ExactArgs(1),
		Long: "Write a configuration for stock WireGuard (wg-quick, the apps, a router). Where the config names no such device yet,\n" +
			"a key is made for it, the file holds the private one, and the lines to put into the config are printed. Where it does,\n" +
			"the file has a place for the private key that the device has already. A device may ask the sentries' nodes; nobody\n" +
			"reaches it, and it reaches no validator.",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := g.look()
			if err != nil {
				return err
			}
			defer s.Close()
			if out == "" {
				out = args[0] + ".conf"
			}
			return exportDevice(c, s, args[0], out)
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "", "file to write, which must not be there yet (default NAME.conf)")
	return c
}

func exportDevice(c *cobra.Command, s *apply.Session, name, out string) error {
	r := s.Head()
	if r == nil || r.MeshDriver != roster.MeshWireGuard {
		return hint(errors.New("this deployment has no WireGuard mesh"), "run 'pressenter apply'; a forked roster has to be healed first")
	}
	m := wireguard.Member{}
	var public tunnel.Key
	if known, ok := r.Member(name); ok {
		if known.Role != roster.RoleDevice {
			return usageError{fmt.Errorf("%q is a host: it has its configuration already", name)}
		}
		public = tunnel.Key(known.Mesh.Key)
	} else {
		private, err := tunnel.NewPrivateKey()
		if err != nil {
			return err
		}
		if m.PrivateKey, public, err = pair(private); err != nil {
			return err
		}
	}
	m.Address = r.MeshAddress(roster.Key(public))
	var err error
	if m.Peers, err = devicePeers(c.Context(), r); err != nil {
		return err
	}
	if err := writeNew(out, wireguard.Configuration(m)); err != nil {
		return err
	}
	w := c.OutOrStdout()
	fmt.Fprintf(w, "wrote %s\n", out)
	if m.PrivateKey.IsZero() {
		fmt.Fprintf(w, "put the device's own private key, the one of %s, in place of %s\n", public, wireguard.Placeholder)
		return nil
	}
	fmt.Fprintf(w, "it holds the device's private key: bring it there and delete it here.\nThen let the device in: add this to the config and run 'pressenter apply'.\n\ndevices:\n  - {name: %s, key: %q}\n", name, public)
	return nil
}

func pair(private tunnel.Key) (tunnel.Key, tunnel.Key, error) {
	public, err := private.Public()
	return private, public, err
}

// deviceKeepalive keeps the way back through a NAT open.
const deviceKeepalive = 25 * time.Second

// devicePeers are the sentries: whom a device may reach.
func devicePeers(ctx context.Context, r *roster.Roster) ([]wireguard.Named, error) {
	var out []wireguard.Named
	for _, m := range r.Members {
		if m.Role != roster.RoleSentry || m.Mesh.Endpoint == "" {
			continue
		}
		at, err := underlay.Resolve(ctx, m.Mesh.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("look up where %s listens: %w", m.Name, err)
		}
		out = append(out, wireguard.Named{Name: m.Name, Peer: tunnel.Peer{
			Key: tunnel.Key(m.Mesh.Key), Address: r.MeshAddress(m.Identity), Endpoint: at[0], Keepalive: deviceKeepalive,
		}})
	}
	if len(out) == 0 {
		return nil, errors.New("no sentry listens for WireGuard")
	}
	return out, nil
}

// writeNew writes a file that only its owner may read, never over another.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return hint(err, "it may hold a private key; choose another file with --out")
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// newMeshRotateCmd changes tunnel keys.
func newMeshRotateCmd(g *global) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "rotate [NAME...]", Short: "Change the tunnel keys of hosts; no tunnel is down for longer than a moment", ValidArgsFunction: g.completeHosts,
		Long: "Let each named host, or every host, bear a new tunnel key. It is announced first; once every host knows it, it is put\n" +
			"into use, and the old one is cut off. Interrupted anywhere, 'pressenter apply' goes on.",
		RunE: func(c *cobra.Command, args []string) error {
			s, targets, err := g.hosts((*apply.Session).Open, args)
			if err != nil {
				return err
			}
			err = s.RotateMesh(c.Context(), targets)
			s.Close()
			if err != nil {
				return hint(err, "run 'pressenter apply', which starts agents that do not run, and rotate again; no key was changed")
			}
			if s, err = g.session(); err != nil {
				return err
			}
			return runApply(c, s, yes, nil)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}
