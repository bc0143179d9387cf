package plan

import (
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/vpncloud"
)

// meshNotes say what the mesh's driver cannot do, and what a change of it costs.
func (b *builder) meshNotes() {
	driver, head := b.want.Own.MeshDriver, b.have.Own.Head
	if driver == roster.MeshVpnCloud {
		b.note("%s", vpncloud.Discloses)
	}
	switch {
	case head == nil || head.MeshDriver == "" || driver == "":
	case head.MeshDriver != driver:
		b.note("the mesh changes from %s to %s: until every host has done so the validator is cut off from its sentries and misses blocks", head.MeshDriver, driver)
	case driver == roster.MeshVpnCloud && !b.plan.Empty():
		b.note("%s", vpncloud.Interrupts)
	}
}
