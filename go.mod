module relive

go 1.25.0
