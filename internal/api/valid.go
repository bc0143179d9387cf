package api

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/pressenter/pressenter/internal/roster"
)

var (
	name    = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	chainID = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_.]{0,49}$`)
	daemon  = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_.]{0,63}$`)
	sha256  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

var roles = []roster.Role{roster.RoleValidator, roster.RoleSentry, roster.RoleGenesisValidator}

// Valid says what an agent would not accept in r. All of it becomes file names or arguments of the daemon.
func (r EnrollRequest) Valid() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(name.MatchString(r.Name), "name %q", r.Name)
	check(name.MatchString(r.Deployment), "deployment %q", r.Deployment)
	check(name.MatchString(r.Moniker), "moniker %q", r.Moniker)
	check(chainID.MatchString(r.ChainID), "chain id %q", r.ChainID)
	check(slices.Contains(roles, roster.Role(r.Role)), "role %q", r.Role)
	check(daemon.MatchString(r.Daemon), "daemon %q", r.Daemon)
	check(filepath.IsAbs(r.Binary), "binary %q is not an absolute path", r.Binary)
	check(sha256.MatchString(r.BinaryHash), "binary hash %q", r.BinaryHash)
	if r.MeshProgram != "" {
		check(filepath.IsAbs(r.MeshProgram), "mesh program %q is not an absolute path", r.MeshProgram)
		check(sha256.MatchString(r.MeshProgramHash), "mesh program's hash %q", r.MeshProgramHash)
	}
	for _, a := range []string{r.Listen.P2P, r.Listen.RPC} {
		_, err := netip.ParseAddrPort(a)
		check(err == nil, "address %q", a)
	}
	if len(errs) > 0 {
		return fmt.Errorf("enrolment request: %w", errors.Join(errs...))
	}
	return nil
}
