package mux

// indices are numbers in use; a new one is the lowest that is free. The zero value has
// none. Its owner's lock guards it.
type indices struct {
	used   []bool
	lowest int // none below it is free
}

func (x *indices) take() int {
	i := x.lowest
	for i < len(x.used) && x.used[i] {
		i++
	}
	if i == len(x.used) {
		x.used = append(x.used, false)
	}
	x.used[i] = true
	x.lowest = i + 1
	return i
}

func (x *indices) free(i int) {
	x.used[i] = false
	x.lowest = min(x.lowest, i)
}
