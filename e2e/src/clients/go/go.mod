module serval.io/who

go 1.19
