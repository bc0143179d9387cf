package systemd

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	const said = `MainPID=812
ControlGroup=/system.slice/a.service
Id=a.service
Names=a.service alias.service
LoadState=loaded
ActiveState=active
FragmentPath=/usr/local/lib/systemd/system/a.service
DropInPaths=/etc/systemd/system/a.service.d/1.conf /etc/systemd/system/a.service.d/2.conf
UnitFileState=enabled
NeedDaemonReload=yes
Job=17

MainPID=0
ControlGroup=
Id=b.service
LoadState=not-found
ActiveState=inactive
FragmentPath=
UnitFileState=
NeedDaemonReload=no
`
	want := []Unit{
		{
			Name: "a.service", ID: "a.service", Names: []string{"a.service", "alias.service"}, Load: "loaded", Active: "active", Enabled: "enabled", Fragment: "/usr/local/lib/systemd/system/a.service",
			DropIns: []string{"/etc/systemd/system/a.service.d/1.conf", "/etc/systemd/system/a.service.d/2.conf"}, Stale: true, Busy: true,
			MainPID: 812, Group: "/system.slice/a.service",
		},
		{Name: "b.service", ID: "b.service", Names: []string{}, Load: "not-found", Active: "inactive", DropIns: []string{}},
	}
	got, err := parse(said)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "MainPID=1", "Unit a.service could not be found."} {
		if got, err := parse(bad); err == nil {
			t.Errorf("%q is understood as %+v", bad, got)
		}
	}
}
