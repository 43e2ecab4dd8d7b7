/* Colouring: rows or columns of a sparse matrix that can share a direction.
 *
 * Source: A. H. Gebremedhin, F. Manne, A. Pothen, What color is your Jacobian? Graph coloring for computing derivatives,
 * SIAM Review 47 (2005) 629-705: partial distance-2 colouring for columns or rows (algorithm 3.1), largest first; star
 * colouring (section 4). The star colouring's algorithm is 4.1 of A. H. Gebremedhin, A. Tarafdar, F. Manne, A. Pothen, New
 * acyclic and star coloring algorithms with application to computing Hessians, SIAM J. Sci. Comput. 29 (2007) 1042-1072. */
#include "sparse_impl.h"

/* ---- entries ---- */

bool ag_entries_open(ag_memory *memory, ag_entries *e, int64_t rows, int64_t columns, uint64_t count) {
    *e = (ag_entries){.rows = (int32_t)rows, .columns = (int32_t)columns, .count = (int32_t)count};
    e->start = ag_memory_zeroed(memory, ((size_t)rows + 1) * sizeof *e->start);
    if (e->start && count) e->index = ag_memory_resize(memory, NULL, 0, count * sizeof *e->index + 1);
    return e->start && (e->index || !count);
}

void ag_entries_close(ag_memory *memory, ag_entries *e) {
    ag_memory_free(memory, e->start, ((size_t)e->rows + 1) * sizeof *e->start);
    ag_memory_free(memory, e->index, (size_t)e->count * sizeof *e->index + 1);
    *e = (ag_entries){0};
}

static int32_t length_of(const ag_entries *e, int32_t row) { return e->start[row + 1] - e->start[row]; }

bool ag_entries_transpose(ag_memory *memory, const ag_entries *e, ag_entries *out) {
    if (!ag_entries_open(memory, out, e->columns, e->rows, (uint64_t)e->count)) return false;
    for (int32_t k = 0; k < e->count; k++) out->start[e->index[k] + 1]++;
    for (int32_t j = 0; j < e->columns; j++) out->start[j + 1] += out->start[j];
    for (int32_t i = 0; i < e->rows; i++)
        for (int32_t k = e->start[i]; k < e->start[i + 1]; k++) out->index[out->start[e->index[k]]++] = i;
    for (int32_t j = e->columns; j > 0; j--) out->start[j] = out->start[j - 1]; /* each had moved to the next one's */
    out->start[0] = 0;
    return true;
}

/* Rows by falling number of entries, equal ones in their order. */
static int32_t *largest_first(ag_memory *memory, const ag_entries *e) {
    size_t n = (size_t)e->rows, size = (size_t)e->columns + 2;
    int32_t *order = ag_memory_resize(memory, NULL, 0, n * sizeof *order + 1);
    int32_t *from = ag_memory_zeroed(memory, size * sizeof *from);
    if (order && from) {
        for (int32_t i = 0; i < e->rows; i++) from[e->columns - length_of(e, i) + 1]++;
        for (int32_t d = 0; d < e->columns; d++) from[d + 1] += from[d];
        for (int32_t i = 0; i < e->rows; i++) order[from[e->columns - length_of(e, i)]++] = i;
    } else {
        ag_memory_free(memory, order, n * sizeof *order + 1);
        order = NULL;
    }
    ag_memory_free(memory, from, size * sizeof *from);
    return order;
}

/* ---- columns: partial distance-2 colouring ---- */

/* The least colour that is not taken, that is, whose mark is not v + 1. */
static int32_t first_free(const int32_t *taken, int32_t v) {
    int32_t c = 0;
    while (taken[c] == v + 1) c++;
    return c;
}

/* Colours the columns in an order; false where that takes `limit` colours. */
static bool colour_in_order(const ag_entries *by_row, const ag_entries *by_column, const uint8_t *skip,
                            const int32_t *order, int32_t limit, int32_t *taken, int32_t *colour, int32_t *colours) {
    int32_t n = by_column->rows;
    *colours = 0;
    memset(taken, 0, ((size_t)n + 1) * sizeof *taken);
    for (int32_t j = 0; j < n; j++) colour[j] = -1;
    for (int32_t at = 0; at < n; at++) {
        int32_t j = order ? order[at] : at;
        bool counts = false;
        for (int32_t k = by_column->start[j]; k < by_column->start[j + 1]; k++) {
            int32_t i = by_column->index[k];
            if (skip && skip[i]) continue;
            counts = true;
            for (int32_t l = by_row->start[i]; l < by_row->start[i + 1]; l++) {
                int32_t other = colour[by_row->index[l]];
                if (other >= 0) taken[other] = j + 1;
            }
        }
        if (!counts) continue;
        colour[j] = first_free(taken, j);
        if (colour[j] >= *colours) *colours = colour[j] + 1;
        if (*colours >= limit) return false;
    }
    return true;
}

/* Entries of the longest row that counts: no fewer colours do. */
static int32_t longest(const ag_entries *e, const uint8_t *skip) {
    int32_t most = 0;
    for (int32_t i = 0; i < e->rows; i++)
        if (!(skip && skip[i]) && length_of(e, i) > most) most = length_of(e, i);
    return most;
}

static int32_t colour_each(int32_t n, int32_t *colour) {
    for (int32_t j = 0; j < n; j++) colour[j] = j;
    return n;
}

bool ag_colour_columns(ag_memory *memory, const ag_entries *by_row, const ag_entries *by_column, const uint8_t *skip,
                       int32_t limit, int32_t *colour, int32_t *colours) {
    size_t n = (size_t)by_column->rows;
    int32_t *order = largest_first(memory, by_column), least = longest(by_row, skip), others;
    int32_t *taken = ag_memory_zeroed(memory, (n + 1) * sizeof *taken);
    int32_t *second = ag_memory_resize(memory, NULL, 0, n * sizeof *second + 1);
    bool ok = order && taken && second;
    if (ok) {
        if (least == by_column->rows) *colours = colour_each(least, colour);
        else if (!colour_in_order(by_row, by_column, skip, NULL, limit, taken, colour, colours)) *colours = limit;
        if (*colours > least && colour_in_order(by_row, by_column, skip, order, *colours, taken, second, &others)) {
            memcpy(colour, second, n * sizeof *colour);
            *colours = others;
        }
    }
    ag_memory_free(memory, order, n * sizeof *order + 1);
    ag_memory_free(memory, taken, (n + 1) * sizeof *taken);
    ag_memory_free(memory, second, n * sizeof *second + 1);
    return ok;
}

/* ---- Jacobians: columns, rows, or both ---- */

/* Marks the longest rows in `skip`, as many as make least their number and the entries of the longest row that is left:
 * the estimate of the colours. */
static bool choose_dense(ag_memory *memory, const ag_entries *e, uint8_t *skip, int32_t *estimate) {
    int32_t *order = largest_first(memory, e), best = 0;
    if (!order) return false;
    *estimate = INT32_MAX;
    for (int32_t k = 0; k <= e->rows; k++) {
        int32_t left = k < e->rows ? length_of(e, order[k]) : 0;
        if (k + left < *estimate) best = k, *estimate = k + left;
        if (k >= *estimate) break;
    }
    for (int32_t k = 0; k < best; k++) skip[order[k]] = 1;
    if (best == 0 || best == e->rows) *estimate = INT32_MAX; /* nothing is apart, or nothing is left */
    ag_memory_free(memory, order, (size_t)e->rows * sizeof *order + 1);
    return true;
}

/* What one way of colouring gives, for a matrix or its transpose. */
typedef struct ag_attempt {
    int32_t *along, *across; /* colours of columns, of dense rows */
    int32_t n_along, n_across;
} ag_attempt;

/* Colours the columns of e, those rows apart that are dense, and of these the rows. `transposed` is e by columns. */
static bool colour_both(ag_memory *memory, const ag_entries *e, const ag_entries *transposed, const uint8_t *dense,
                        int32_t limit, ag_attempt *a) {
    if (!ag_colour_columns(memory, e, transposed, dense, limit, a->along, &a->n_along)) return false;
    for (int32_t i = 0; i < e->rows; i++) a->across[i] = -1;
    a->n_across = 0;
    for (int32_t i = 0; dense && i < e->rows; i++) /* few and long: rows that share no column are rare */
        if (dense[i]) a->across[i] = a->n_across++;
    return true;
}

/* The ways: by columns; by rows; dense rows apart; dense columns apart. */
enum { BY_COLUMNS, BY_ROWS, ROWS_APART, COLUMNS_APART, WAYS };

typedef struct ag_choosing {
    ag_memory *memory;
    const ag_entries *by_row, *by_column;
    uint8_t *dense[2]; /* rows; columns */
    int32_t estimate[WAYS];
    int32_t best; /* colours so far */
    ag_colouring *c;
} ag_choosing;

static bool try_way(ag_choosing *s, int way) {
    bool columns = way == BY_COLUMNS || way == ROWS_APART;
    const ag_entries *e = columns ? s->by_row : s->by_column, *t = columns ? s->by_column : s->by_row;
    const uint8_t *dense = way == ROWS_APART ? s->dense[0] : way == COLUMNS_APART ? s->dense[1] : NULL;
    size_t n = (size_t)e->rows + (size_t)t->rows;
    ag_attempt a = {.along = ag_memory_resize(s->memory, NULL, 0, n * sizeof *a.along + 1)};
    if (!a.along) return false;
    a.across = a.along + t->rows;
    bool ok = colour_both(s->memory, e, t, dense, s->best, &a);
    if (ok && a.n_along + a.n_across < s->best) {
        ag_colouring *c = s->c;
        memcpy(columns ? c->column : c->row, a.along, (size_t)t->rows * sizeof *a.along);
        memcpy(columns ? c->row : c->column, a.across, (size_t)e->rows * sizeof *a.along);
        c->columns = columns ? a.n_along : a.n_across;
        c->rows = columns ? a.n_across : a.n_along;
        c->rows_first = way == ROWS_APART || way == BY_ROWS;
        s->best = a.n_along + a.n_across;
    }
    ag_memory_free(s->memory, a.along, n * sizeof *a.along + 1);
    return ok;
}

/* Tries the most promising way first, and no way that cannot be better than what was found. */
static bool try_ways(ag_choosing *s) {
    bool tried[WAYS] = {false};
    for (int n = 0; n < WAYS; n++) {
        int way = -1;
        for (int k = 0; k < WAYS; k++)
            if (!tried[k] && (way < 0 || s->estimate[k] < s->estimate[way])) way = k;
        tried[way] = true;
        if (s->estimate[way] < s->best && !try_way(s, way)) return false;
    }
    return true;
}

bool ag_colour_jacobian(ag_memory *memory, const ag_entries *by_row, ag_colouring *c) {
    ag_entries by_column = {0};
    ag_choosing s = {.memory = memory, .by_row = by_row, .by_column = &by_column, .best = INT32_MAX, .c = c};
    size_t rows = (size_t)by_row->rows, columns = (size_t)by_row->columns;
    s.dense[0] = ag_memory_zeroed(memory, rows + 1);
    s.dense[1] = ag_memory_zeroed(memory, columns + 1);
    bool ok = ag_entries_transpose(memory, by_row, &by_column) && s.dense[0] && s.dense[1] &&
              choose_dense(memory, by_row, s.dense[0], &s.estimate[ROWS_APART]) &&
              choose_dense(memory, &by_column, s.dense[1], &s.estimate[COLUMNS_APART]);
    if (ok) {
        s.estimate[BY_COLUMNS] = longest(by_row, NULL);
        s.estimate[BY_ROWS] = longest(&by_column, NULL);
        ok = try_ways(&s);
    }
    ag_entries_close(memory, &by_column);
    ag_memory_free(memory, s.dense[0], rows + 1);
    ag_memory_free(memory, s.dense[1], columns + 1);
    return ok;
}

/* ---- Hessians: star colouring ---- */

typedef struct ag_stars {
    const ag_entries *e;
    int32_t *colour;
    int32_t *twin;  /* of each entry (v, w), entry (w, v) */
    int32_t *star;  /* of each entry, its star; both twins have it */
    int32_t *hub;   /* of each star, its centre; -1 while it is a single edge */
    int32_t *taken; /* of each colour, 1 + the vertex that must not have it */
    int32_t
        *first; /* of each colour, an entry of the vertex that is coloured now: its first neighbour of that colour */
    int32_t *first_of, *treated;
    uint8_t *dense;
    int32_t stars;
} ag_stars;

static bool counts(const ag_stars *s, int32_t v, int32_t w) { return w != v && !s->dense[w] && s->colour[w] >= 0; }

/* Takes the colours of all neighbours of w. */
static void treat(ag_stars *s, int32_t v, int32_t w) {
    for (int32_t k = s->e->start[w]; k < s->e->start[w + 1]; k++)
        if (counts(s, w, s->e->index[k])) s->taken[s->colour[s->e->index[k]]] = v + 1;
    s->treated[w] = v + 1;
}

static int32_t find_colour(ag_stars *s, int32_t v) {
    const ag_entries *e = s->e;
    for (int32_t k = e->start[v]; k < e->start[v + 1]; k++) {
        int32_t w = e->index[k], c = counts(s, v, w) ? s->colour[w] : -1;
        if (c < 0) continue;
        s->taken[c] = v + 1;
        if (s->first_of[c] == v + 1) { /* two neighbours of one colour: v will be their hub */
            int32_t q = e->index[s->first[c]];
            if (s->treated[q] != v + 1) treat(s, v, q);
            treat(s, v, w);
            continue;
        }
        s->first_of[c] = v + 1;
        s->first[c] = k;
        for (int32_t l = e->start[w]; l < e->start[w + 1]; l++) {
            int32_t x = e->index[l];
            if (x != v && counts(s, w, x) && s->hub[s->star[l]] == x) s->taken[s->colour[x]] = v + 1;
        }
    }
    return first_free(s->taken, v);
}

static void join_star(ag_stars *s, int32_t entry, int32_t star) { s->star[entry] = s->star[s->twin[entry]] = star; }

static void update_stars(ag_stars *s, int32_t v) {
    const ag_entries *e = s->e;
    for (int32_t k = e->start[v]; k < e->start[v + 1]; k++) {
        int32_t w = e->index[k], leaf = -1;
        if (!counts(s, v, w)) continue;
        for (int32_t l = e->start[w]; l < e->start[w + 1] && leaf < 0; l++) {
            int32_t x = e->index[l];
            if (x != v && counts(s, w, x) && s->colour[x] == s->colour[v]) leaf = l;
        }
        int32_t first = s->first[s->colour[w]];
        if (leaf >= 0) {
            s->hub[s->star[leaf]] = w;
            join_star(s, k, s->star[leaf]);
        } else if (first != k) {
            s->hub[s->star[first]] = v;
            join_star(s, k, s->star[first]);
        } else {
            s->hub[s->stars] = -1;
            join_star(s, k, s->stars++);
        }
    }
}

/* Rows so long that walking over them from each of their neighbours would cost too much get a colour of their own, as
 * hubs of large stars do anyway. */
static int32_t colour_dense(ag_stars *s) {
    int64_t limit = 64;
    while (limit * limit < 16 * (int64_t)s->e->count) limit *= 2;
    int32_t colours = 0;
    for (int32_t v = 0; v < s->e->rows; v++) {
        s->colour[v] = -1;
        if (length_of(s->e, v) <= limit && length_of(s->e, v) < s->e->rows) continue;
        s->dense[v] = 1;
        s->colour[v] = colours++;
    }
    return colours;
}

static int32_t colour_stars(ag_stars *s, const int32_t *order) {
    const ag_entries *e = s->e;
    int32_t dense = colour_dense(s), colours = 0;
    for (int32_t at = 0; at < e->rows; at++) {
        int32_t v = order ? order[at] : at;
        if (s->dense[v] || !length_of(e, v)) continue;
        s->colour[v] = find_colour(s, v);
        if (s->colour[v] >= colours) colours = s->colour[v] + 1;
        update_stars(s, v);
    }
    for (int32_t v = 0; v < e->rows; v++)
        if (s->dense[v]) s->colour[v] += colours;
    return colours + dense;
}

/* One order; -1 if there is no memory. */
static int32_t star_in_order(ag_memory *memory, const ag_entries *e, const int32_t *order, int32_t *colour) {
    size_t n = (size_t)e->rows, m = (size_t)e->count, size = (3 * m + 4 * (n + 1)) * sizeof(int32_t) + n + 1;
    int32_t *space = ag_memory_zeroed(memory, size);
    if (!space) return -1;
    ag_stars s = {.e = e, .colour = colour, .twin = space, .star = space + m, .hub = space + 2 * m};
    s.taken = space + 3 * m;
    s.first = s.taken + n + 1;
    s.first_of = s.first + n + 1;
    s.treated = s.first_of + n + 1;
    s.dense = (uint8_t *)(s.treated + n + 1);
    for (int32_t i = 0; i < e->rows; i++) /* columns of a row come in order, and so do the rows of a column */
        for (int32_t k = e->start[i]; k < e->start[i + 1]; k++)
            s.twin[k] = e->start[e->index[k]] + s.treated[e->index[k]]++;
    memset(s.treated, 0, (n + 1) * sizeof *s.treated);
    int32_t colours = colour_stars(&s, order);
    ag_memory_free(memory, space, size);
    return colours;
}

bool ag_colour_hessian(ag_memory *memory, const ag_entries *e, int32_t *colour, int32_t *colours) {
    size_t size = (size_t)e->rows * sizeof *colour;
    int32_t *order = largest_first(memory, e), *other = ag_memory_resize(memory, NULL, 0, size + 1), n = -1;
    *colours = order && other ? star_in_order(memory, e, NULL, colour) : -1;
    if (*colours > 2) n = star_in_order(memory, e, order, other);
    bool ok = *colours >= 0 && (*colours <= 2 || n >= 0);
    if (n >= 0 && n < *colours) {
        memcpy(colour, other, size);
        *colours = n;
    }
    if (ok && longest(e, NULL) < *colours) {
        ok = ag_colour_columns(memory, e, e, NULL, *colours, other, &n);
        if (ok && n < *colours) {
            memcpy(colour, other, size);
            *colours = n;
        }
    }
    ag_memory_free(memory, order, size + 1);
    ag_memory_free(memory, other, size + 1);
    return ok;
}
