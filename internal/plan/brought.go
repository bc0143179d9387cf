package plan

import (
	"fmt"
	"strings"
)

// setsUp notes which servers of somebody's are taken for hosts, and what becomes of them.
func (b *builder) setsUp() {
	var words []string
	for _, h := range b.want.Own.Hosts {
		if h.OnMachine() && !h.Bought() && !b.have.Own.Hosts[h.Name].Exists {
			words = append(words, fmt.Sprintf("%s at %s", h.Name, h.Address))
		}
	}
	if len(words) > 0 {
		b.note("set up as servers: %s. Each gets users and units of its own, a packet filter, SSH by keys only, security updates, a clock that is kept; "+
			"what could lock you out is taken back unless a new login succeeds", strings.Join(words, ", "))
	}
}
