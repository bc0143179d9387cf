package plan

import (
	"fmt"
	"slices"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/roster"
)

// An invited sentry is on a host that nobody here reaches but through the mesh: the config says that it belongs, the
// roster what it is, and its own agent does the rest. A plan never makes one.

// Admit is the generation after head in which an invited host is a member as m says; nil where it is that already. A
// member of the same name with another identity has to be removed first, see [Evict].
func Admit(want deployment.Inventory, head *roster.Roster, m roster.Member) *roster.Roster {
	r := roster.Next(head)
	if i, ok := want.InvitedHost(m.Name); ok {
		m.PrivatePeers = slices.Clone(i.PrivatePeers)
	}
	m.Since = r.Generation
	if i := slices.IndexFunc(r.Members, func(o roster.Member) bool { return o.Identity == m.Identity }); i >= 0 {
		m.Since, m.Restart = r.Members[i].Since, r.Members[i].Restart
		r.Members[i] = m
	} else {
		r.Members = append(r.Members, m)
	}
	restartInvited(r, head, want)
	if same(head, r) {
		return nil
	}
	return r
}

// Evict is the generation after head without the member of that name.
func Evict(want deployment.Inventory, head *roster.Roster, name string) *roster.Roster {
	r := roster.Next(head)
	r.Remove(name)
	restartInvited(r, head, want)
	return r
}

// keepInvited leaves an invited member as it is, but for what the config says of it. Where the mesh changes, the keys of
// its place in the new one are not known here, so it has to be invited again.
func keepInvited(r, head *roster.Roster, m roster.Member, want deployment.Invited) {
	if head.MeshDriver != r.MeshDriver || (r.MeshDriver != "" && !m.InMesh()) {
		r.Remove(m.Name)
		return
	}
	for i := range r.Members {
		if r.Members[i].Name == m.Name {
			r.Members[i].PrivatePeers = slices.Clone(want.PrivatePeers)
		}
	}
}

// restartInvited restarts those invited members whose settings r changes, in the same generation: their agents cannot be
// asked whether they are back, so there is nothing to wait for.
func restartInvited(r, head *roster.Roster, want deployment.Inventory) {
	if head == nil {
		return
	}
	for i, m := range r.Members {
		was, member := head.MemberByIdentity(m.Identity)
		if _, invited := want.InvitedHost(m.Name); !invited || !member {
			continue
		}
		if before, after := revision(head, was), revision(r, m); after != "" && before != after {
			r.Members[i].Restart = r.Generation
		}
	}
}

// revision is that of a member's settings, as far as a roster decides them; empty where it cannot run.
func revision(r *roster.Roster, m roster.Member) string {
	files, err := node.Settings(r, m, node.Local{P2P: m.Endpoint})
	if err != nil {
		return ""
	}
	return files.Revision()
}

// waiting notes who has not come yet: only a person can bring them.
func (b *builder) waiting() {
	if b.target == nil {
		return
	}
	for _, i := range b.want.Own.Invited {
		if _, member := b.target.Member(i.Name); !member {
			b.note("%s waits to be invited: run 'pressenter invite %s'", i.Name, i.Name)
		}
	}
}

// mixed refuses to make an invited host of one that is ours: its folder would be destroyed under its node.
func mixed(want Want, have Observed) error {
	for _, i := range want.Own.Invited {
		_, member := have.Own.Head.Member(i.Name)
		if member && have.Own.Hosts[i.Name].Exists {
			return &Refusal{
				Why:  fmt.Sprintf("host %q is one that apply made, and the config now says that it is invited", i.Name),
				Next: "take it out of the config and apply; then add it again with provider: invite",
			}
		}
	}
	return nil
}
