// Package mesh is the control plane of a deployment's encrypted network: the roster says who is in it, pings say who
// can be reached how, and rosters and observed addresses spread from peer to peer inside the tunnels.
//
// Pings and pongs are JSON datagrams on port [access.Control] of the mesh address, rosters go over TCP on the same port.
// The source address proves who sent them: the data plane below lets in nobody else. Whatever comes in is evidence or a
// hint at most. Rosters are verified by whoever keeps them; a false address costs a try, because the tunnel
// authenticates whoever answers there.
//
// Nothing here expires, and no wall clock is compared with another: durations come from the monotonic clock.
//
// The underlay address of a hidden member is in no message, no log and no status.
package mesh
