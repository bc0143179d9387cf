// Package netlab makes small internets of network namespaces, for tests and benchmarks that run as root on Linux: hosts
// behind a router, links with delay and rate, and the faults that real networks have.
//
// Everything that is made dies with the test that made it. What a killed run left behind goes when the next lab starts.
package netlab

// TB is what a lab needs of whoever it works for; testing.TB has it.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Skip(args ...any)
}

// Skip skips a test, with the reason, where labs cannot be made.
func Skip(tb TB) {
	tb.Helper()
	if why := unable(); why != "" {
		tb.Skip("no network namespaces: " + why)
	}
}
