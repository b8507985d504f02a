package iso

// elToritoID is the boot system identifier of El Torito (El Torito 1.0,
// figure 7).
const elToritoID = "EL TORITO SPECIFICATION"
