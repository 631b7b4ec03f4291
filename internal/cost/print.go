package cost

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// String is the report in Markdown.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "US dollars, %s, prices of %s, functions on arm64. Without free tier, data transfer and taxes.\n", Region, PriceDate)
	b.WriteString("\n### A million events, by topic\n\n")
	rows := [][]string{headings("events")}
	for _, p := range r.paths {
		row := []string{p.name}
		for _, usd := range p.total() {
			row = append(row, dollars(usd))
		}
		rows = append(rows, row)
	}
	table(&b, rows)
	for _, p := range r.paths {
		if p.wants {
			p.write(&b)
		}
	}
	b.WriteString("\n### A month, whatever comes in\n\n")
	rows = [][]string{{"what", "USD"}}
	sum := 0.0
	for _, i := range r.monthly {
		rows = append(rows, []string{i.name, dollars(i.usd)})
		sum += i.usd
	}
	rows = append(rows, []string{"together", dollars(sum)}, []string{"with `-c customerKey=true` also: 1 key (KMS)", dollars(priceKey.of(1))})
	table(&b, rows)
	b.WriteString("\n### Prices\n\n")
	rows = [][]string{{"what", "USD", "for", "source"}}
	for _, p := range prices {
		rows = append(rows, []string{p.what, strconv.FormatFloat(p.usd, 'f', -1, 64), p.unit, p.source})
	}
	table(&b, rows)
	return b.String()
}

// write writes the hops of a path with their shares.
func (p path) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n### A million `%s` events, hop by hop\n\n", p.name)
	total := p.total()
	rows := [][]string{headings("hop")}
	for _, h := range p.hops {
		row := []string{h.name}
		for i, usd := range h.usd {
			row = append(row, fmt.Sprintf("%s (%.0f %%)", dollars(usd), 100*usd/total[i]))
		}
		rows = append(rows, row)
	}
	last := []string{"together"}
	for _, usd := range total {
		last = append(last, dollars(usd))
	}
	table(b, append(rows, last))
}

func headings(first string) []string {
	row := []string{first}
	for _, s := range scenarios {
		row = append(row, s.name)
	}
	return row
}

func dollars(usd float64) string { return strconv.FormatFloat(usd, 'f', 2, 64) }

// count writes a number with what it counts.
func count(n float64, what string) string {
	if n != 1 && what != "GB" {
		what += "s"
	}
	return strconv.FormatFloat(n, 'f', -1, 64) + " " + what
}

// table writes rows, the first of which are headings, in columns of one width.
func table(b *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			b.WriteString("| " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + " ")
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for _, w := range widths {
			b.WriteString("|" + strings.Repeat("-", w+2))
		}
		b.WriteString("|\n")
	}
}
