package job

// Standing tells in a summary whether a verb finds anything to do. Where it does
// not, nothing is written, and no former state moves on.
type Standing struct {
	UpToDate bool `json:"up_to_date"`
	// NothingToDo is the same, under the name that every verb has.
	NothingToDo bool `json:"nothing_to_do"`
}

// Stands notes that all is as it is to be, or not.
func (s *Standing) Stands(is bool) { s.UpToDate, s.NothingToDo = is, is }
