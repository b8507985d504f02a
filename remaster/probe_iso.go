package remaster

import "relive/remaster/probe"

// isoKinds are what an ISO is taken for.
var isoKinds = []probe.Kind{probe.ISO9660, probe.UDF}
