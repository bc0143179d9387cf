package roster

import (
	"fmt"
	"slices"
	"strings"
)

// Diff says in words what b changes in a, a line for each change, in an order
// that does not depend on the order of lists. A nil a is an empty roster.
func Diff(a, b *Roster) []string {
	if a == nil {
		a = &Roster{}
	}
	a, b = a.Clone(), b.Clone()
	var d diff
	d.admins(a, b)
	d.chain(a.Chain, b.Chain)
	if a.MeshDriver != b.MeshDriver {
		d.addf("sets mesh driver to %s", quoteEmpty(b.MeshDriver))
	}
	d.members(a, b)
	d.signer(a.Signer, b.Signer)
	d.peers(a.Peers, b.Peers)
	return d.lines
}

// diff collects the lines of Diff.
type diff struct{ lines []string }

func (d *diff) addf(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diff) admins(a, b *Roster) {
	find := func(r *Roster, k Key) (Admin, bool) {
		i := slices.IndexFunc(r.Admins, func(x Admin) bool { return x.Key == k })
		if i < 0 {
			return Admin{}, false
		}
		return r.Admins[i], true
	}
	for _, y := range b.Admins {
		x, ok := find(a, y.Key)
		switch {
		case !ok:
			d.addf("adds admin %s (%s)", y.Name, joined(y.Capabilities))
		case !slices.Equal(x.Capabilities, y.Capabilities):
			d.addf("lets admin %s do %s, before %s", y.Name, joined(y.Capabilities), joined(x.Capabilities))
		case x.Name != y.Name:
			d.addf("renames admin %s to %s", x.Name, y.Name)
		}
	}
	for _, x := range a.Admins {
		if _, ok := find(b, x.Key); !ok {
			d.addf("removes admin %s", x.Name)
		}
	}
}

func (d *diff) chain(a, b Chain) {
	for _, f := range []struct{ what, was, is string }{
		{"chain id", a.ID, b.ID},
		{"genesis", hashWord(a.GenesisSHA256), hashWord(b.GenesisSHA256)},
		{"daemon", a.Daemon, b.Daemon},
		{"bech32 prefix", a.Bech32Prefix, b.Bech32Prefix},
		{"denom", a.Denom, b.Denom},
		{"minimum gas price", a.MinGasPrice, b.MinGasPrice},
		{"block time", a.BlockTime.String(), b.BlockTime.String()},
	} {
		if f.was != f.is {
			d.addf("sets %s to %s", f.what, quoteEmpty(f.is))
		}
	}
	for _, y := range b.Binaries {
		if was, ok := a.Binary(y.Platform); !ok || was != y.SHA256 {
			d.addf("sets binary for %s to %s", y.Platform, y.SHA256.Short())
		}
	}
	for _, x := range a.Binaries {
		if _, ok := b.Binary(x.Platform); !ok {
			d.addf("removes binary for %s", x.Platform)
		}
	}
}

func (d *diff) members(a, b *Roster) {
	for _, y := range b.Members {
		x, ok := a.MemberByIdentity(y.Identity)
		if !ok {
			d.addf("admits %s (%s)", y.Name, y.Role)
			x = Member{Restart: y.Restart, NodeID: y.NodeID, Endpoint: y.Endpoint, Mesh: y.Mesh}
		}
		for _, f := range []struct{ what, was, is string }{
			{"node id", x.NodeID, y.NodeID},
			{"endpoint", x.Endpoint, y.Endpoint},
			{"mesh key", keyWord(x.Mesh.Key), keyWord(y.Mesh.Key)},
			{"second mesh key", keyWord(x.Mesh.Next), keyWord(y.Mesh.Next)},
			{"relay key", keyWord(x.Mesh.TLS), keyWord(y.Mesh.TLS)},
			{"mesh endpoint", x.Mesh.Endpoint, y.Mesh.Endpoint},
			{"relay port", x.Mesh.Relay, y.Mesh.Relay},
		} {
			if f.was != f.is {
				d.addf("sets %s of %s to %s", f.what, y.Name, quoteEmpty(f.is))
			}
		}
		if !slices.Equal(x.PrivatePeers, y.PrivatePeers) {
			d.addf("sets private peers of %s to %s", y.Name, quoteEmpty(strings.Join(y.PrivatePeers, ", ")))
		}
		if x.Restart != y.Restart {
			d.addf("restarts %s", y.Name)
		}
	}
	old := mapped(a.Tombstones, Tombstone.order)
	for _, t := range b.Tombstones {
		if !slices.Contains(old, t.order()) {
			d.addf("tombstones %s", t.Name)
		}
	}
}

func (d *diff) signer(a, b Assignment) {
	if a.PubKey != b.PubKey {
		d.addf("sets consensus key to %s", b.PubKey)
	}
	switch {
	case a.Holder == b.Holder:
	case b.Holder == "":
		d.addf("retires the signer from %s", a.Holder)
	default:
		d.addf("assigns the signer to %s (epoch %d)", b.Holder, b.Epoch)
	}
}

func (d *diff) peers(a, b []string) {
	for _, s := range b {
		if !slices.Contains(a, s) {
			d.addf("adds peer %s", s)
		}
	}
	for _, s := range a {
		if !slices.Contains(b, s) {
			d.addf("removes peer %s", s)
		}
	}
}

func joined(cs []Capability) string {
	return strings.Join(mapped(cs, func(c Capability) string { return string(c) }), ", ")
}

func hashWord(h Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.Short()
}

func keyWord(k Key) string {
	if k.IsZero() {
		return ""
	}
	return k.String()[:12]
}

func quoteEmpty(s string) string {
	if s == "" {
		return `""`
	}
	return s
}
