// Package access says who in a mesh may start talking to whom about what, by role. It is the one matrix that the
// packet filter on hosts with root and the forwarder on hosts without it both enforce.
package access

import (
	"slices"

	"github.com/pressenter/pressenter/internal/roster"
)

// Service is something a member offers inside the mesh.
type Service string

// The services, each on one port inside the mesh.
const (
	P2P     Service = "p2p"     // the chain's own peer protocol
	Control Service = "control" // the mesh's own: pings, rosters
	RPC     Service = "rpc"     // a node's answers to questions, for who looks on
)

// Services returns all services.
func Services() []Service { return []Service{P2P, Control, RPC} }

// Port returns the port of a service inside the mesh, 0 for one that is not known.
func (s Service) Port() uint16 {
	switch s {
	case P2P:
		return 26656
	case Control:
		return 51821
	case RPC:
		return 26657
	}
	return 0
}

// Allowed reports whether a member of role from may start a connection or an exchange with one of role to. Answers are
// always allowed. Nobody starts anything with a validator: it dials its sentries.
func Allowed(from, to roster.Role, s Service) bool {
	switch s {
	case P2P, Control:
		return to == roster.RoleSentry && (from == roster.RoleValidator || from == roster.RoleSentry)
	case RPC:
		return to == roster.RoleSentry && from == roster.RoleDevice
	}
	return false
}

// Linked reports whether members of two roles may have a tunnel: one of them may start something with the other.
func Linked(a, b roster.Role) bool {
	return slices.ContainsFunc(Services(), func(s Service) bool { return Allowed(a, b, s) || Allowed(b, a, s) })
}
