package config

import "fmt"

// otherDriver is what is said of a driver that there is not.
func otherDriver(got string) (string, string) {
	suggestion := "use driver: " + MeshWireGuard + " or " + MeshVpnCloud
	if like, ok := nearest(got, []string{MeshWireGuard, MeshVpnCloud}); ok {
		suggestion = fmt.Sprintf("did you mean %q?", like)
	}
	return "unknown driver " + quote(got), suggestion
}

// driver reports what a mesh of vpncloud cannot have.
func (w *walk) driver(d Deployment, root node) {
	if d.Mesh.Driver != MeshVpnCloud {
		return
	}
	instead := "use driver: " + MeshWireGuard
	if !d.OnMachines() {
		w.report(root.at1("mesh").at1("driver").at, "mesh.driver",
			`driver "vpncloud" needs a host of its own for each node: the hosts of provider local share one network, so that nothing would go through it`, instead)
		return
	}
	hosts := d.hosts(root)[1:] // the first is the validator's
	for i, s := range d.Sentries {
		switch h := hosts[i]; {
		case s.Relay:
			w.report(h.at.at1("relay").at, join(h.path, "relay"), "a relay passes WireGuard's packets only, and the mesh's driver is vpncloud", "remove it, or "+instead)
		case s.Invited():
			w.report(h.at.at1("provider").at, join(h.path, "provider"), "an invited host with a mesh of vpncloud is not implemented in this version", instead)
		}
	}
}
