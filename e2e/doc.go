// Package e2e holds tests of the whole system: they build the programs, start real practice networks with them and do to
// these what people, crashes and full disks do.
//
// They take minutes, so they run only when asked for: go test ./e2e -e2e.
package e2e
