// Package mesh is the control plane of a deployment's encrypted network: the roster says who is in it, pings say who
// can be reached how, and rosters and observed addresses spread from peer to peer inside the tunnels.
package mesh
