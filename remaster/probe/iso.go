package probe

// IsoKinds are what an ISO is taken for.
var IsoKinds = []Kind{ISO9660, UDF}
