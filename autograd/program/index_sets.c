/* Sets of numbers that are made by uniting others, many of them equal or parts of each other. */
#include "sparse_impl.h"

#include <stdlib.h>

enum { SMALL = 32, RECENT = 1 << 14 };
#define NONE UINT32_MAX

typedef struct ag_kept_set {
    uint32_t count; /* 0: a pair of sets, not united yet */
    uint32_t hash;
    uint32_t at;    /* small: the first in `elements`; large: its array; of a pair the first */
    uint32_t large; /* 1; of a pair the second */
} ag_kept_set;

typedef struct ag_set_array {
    uint32_t *element;
    uint32_t count, size;
} ag_set_array;

struct ag_united {
    uint32_t a, b, both;
};

static ag_kept_set *kept(const ag_sets *s, uint32_t set) {
    return (ag_kept_set *)(void *)s->sets.range.base + (set - s->n - 1);
}
static ag_set_array *array_at(const ag_sets *s, uint32_t i) { return (ag_set_array *)(void *)s->arrays.range.base + i; }
static bool is_pair(const ag_sets *s, uint32_t set) { return set > s->n && kept(s, set)->count == 0; }

static uint32_t fail(ag_sets *s) {
    s->failed = true;
    return 0;
}

/* The elements of a set that is no pair and not empty; `one` is room for a single one. */
static const uint32_t *elements_of(const ag_sets *s, uint32_t set, uint32_t *one, uint32_t *count) {
    if (set <= s->n) {
        *one = set - 1;
        *count = 1;
        return one;
    }
    const ag_kept_set *k = kept(s, set);
    *count = k->count;
    return k->large ? array_at(s, k->at)->element : (const uint32_t *)(void *)s->elements.range.base + k->at;
}

static uint32_t hash_more(uint32_t hash, const uint32_t *x, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        hash = (hash ^ x[i]) * 0x9E3779B1u;
        hash ^= hash >> 15;
    }
    return hash;
}

/* ---- open and close ---- */

bool ag_sets_open(ag_sets *s, ag_memory *memory, uint32_t n, uint64_t budget) {
    *s = (ag_sets){.memory = memory, .n = n, .budget = budget};
    s->recent = ag_memory_zeroed(memory, RECENT * sizeof *s->recent);
    s->failed = !s->recent;
    return !s->failed;
}

void ag_sets_close(ag_sets *s) {
    for (uint32_t i = 0; i < s->arrays.count; i++)
        ag_memory_free(s->memory, array_at(s, i)->element, array_at(s, i)->size * sizeof(uint32_t));
    ag_list *lists[] = {&s->sets, &s->elements, &s->arrays, &s->merged, &s->stack};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) ag_range_free(s->memory, &lists[i]->range);
    ag_memory_free(s->memory, s->table, s->table_size * sizeof *s->table);
    ag_memory_free(s->memory, s->recent, RECENT * sizeof *s->recent);
    ag_memory_free(s->memory, s->mark, s->n * sizeof *s->mark + 1);
    ag_memory_free(s->memory, s->seen, s->seen_count * sizeof *s->seen + 1);
}

/* ---- the table ---- */

static bool grow_table(ag_sets *s) {
    uint64_t size = s->table_size ? 2 * s->table_size : 1024;
    uint32_t *table = ag_memory_zeroed(s->memory, size * sizeof *table);
    if (!table) return false;
    for (uint64_t i = 0; i < s->table_size; i++) {
        if (!s->table[i]) continue;
        uint64_t at = kept(s, s->n + s->table[i])->hash & (size - 1);
        while (table[at]) at = (at + 1) & (size - 1);
        table[at] = s->table[i];
    }
    ag_memory_free(s->memory, s->table, s->table_size * sizeof *s->table);
    s->table = table;
    s->table_size = size;
    return true;
}

/* The place of the set {x.., y..} in the table: it is there, or the place is free. */
static uint32_t *find(ag_sets *s, uint32_t hash, const uint32_t *x, uint32_t n, const uint32_t *y, uint32_t m) {
    uint64_t at = hash & (s->table_size - 1);
    for (; s->table[at]; at = (at + 1) & (s->table_size - 1)) {
        uint32_t one, count, set = s->n + s->table[at];
        if (kept(s, set)->hash != hash || kept(s, set)->count != n + m) continue;
        const uint32_t *e = elements_of(s, set, &one, &count);
        if (memcmp(e, x, n * sizeof *x) == 0 && (!m || memcmp(e + n, y, m * sizeof *y) == 0)) break;
    }
    return &s->table[at];
}

static uint32_t add_set(ag_sets *s, ag_kept_set k) {
    ag_kept_set *to = ag_list_room(s->memory, &s->sets, sizeof *to, 1);
    if (!to || s->n + s->sets.count + 2 >= NONE) return fail(s);
    *to = k;
    return s->n + 1 + (uint32_t)s->sets.count++;
}

static uint32_t add_pair(ag_sets *s, uint32_t a, uint32_t b) {
    for (int i = 0; i < 2; i++) { /* a part of what is there already */
        if (is_pair(s, a) && (kept(s, a)->at == b || kept(s, a)->large == b)) return a;
        uint32_t c = a;
        a = b;
        b = c;
    }
    return add_set(s, (ag_kept_set){.at = a, .large = b});
}

/* ---- unions ---- */

/* Whether e is among the x. */
static bool contains(const uint32_t *x, uint32_t n, uint32_t e) {
    uint32_t from = 0, to = n;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (x[middle] < e) from = middle + 1;
        else to = middle;
    }
    return from < n && x[from] == e;
}

/* Whether all y are among the x. */
static bool is_part(const uint32_t *y, uint32_t m, const uint32_t *x, uint32_t n) {
    if (m > n || y[0] < x[0] || y[m - 1] > x[n - 1]) return false;
    if (m < n / 8) {
        for (uint32_t i = 0; i < m; i++)
            if (!contains(x, n, y[i])) return false;
        return true;
    }
    uint32_t i = 0;
    for (uint32_t j = 0; i < m && j < n && x[j] <= y[i]; j++) i += x[j] == y[i];
    return i == m;
}

/* A large set of n + m elements, as an array of its own. */
static uint32_t add_array(ag_sets *s, const uint32_t *x, uint32_t n, const uint32_t *y, uint32_t m, uint32_t hash) {
    uint32_t size = (n + m) + (n + m) / 2;
    ag_set_array *a = ag_list_room(s->memory, &s->arrays, sizeof *a, 1);
    if (a) *a = (ag_set_array){ag_memory_resize(s->memory, NULL, 0, size * sizeof *x), n + m, size};
    if (!a || !a->element) return fail(s);
    memcpy(a->element, x, n * sizeof *x);
    if (m) memcpy(a->element + n, y, m * sizeof *y);
    s->budget -= s->budget < n + m ? s->budget : n + m;
    return add_set(s, (ag_kept_set){n + m, hash, (uint32_t)s->arrays.count++, 1});
}

/* The set of these, two or more. */
static uint32_t intern(ag_sets *s, const uint32_t *x, uint32_t n) {
    if (2 * (s->sets.count + 1) > s->table_size && !grow_table(s)) return fail(s);
    uint32_t hash = hash_more(0, x, n), *place = find(s, hash, x, n, NULL, 0), set;
    if (*place) return s->n + *place;
    if (n > SMALL) {
        set = add_array(s, x, n, NULL, 0, hash);
    } else {
        uint32_t *to = ag_list_room(s->memory, &s->elements, sizeof *to, n);
        if (!to || s->elements.count + n >= NONE) return fail(s);
        memcpy(to, x, n * sizeof *x);
        set = add_set(s, (ag_kept_set){n, hash, (uint32_t)s->elements.count, 0});
        s->elements.count += n;
    }
    if (set) *place = set - s->n;
    return set;
}

/* Set a is large, with elements x, and all y are greater. */
static uint32_t append(ag_sets *s, uint32_t a, const uint32_t *x, uint32_t n, const uint32_t *y, uint32_t m) {
    if (2 * (s->sets.count + 1) > s->table_size && !grow_table(s)) return fail(s);
    uint32_t hash = hash_more(kept(s, a)->hash, y, m), *place = find(s, hash, x, n, y, m), set;
    if (*place) return s->n + *place;
    ag_set_array *grown = array_at(s, kept(s, a)->at);
    if (grown->count == n) {
        if (n + m > grown->size) {
            uint32_t size = (n + m) + (n + m) / 2;
            uint32_t *moved = ag_memory_resize(s->memory, grown->element, grown->size * sizeof *x, size * sizeof *x);
            if (!moved) return fail(s);
            grown->element = moved;
            grown->size = size;
        }
        memcpy(grown->element + n, y, m * sizeof *y);
        grown->count = n + m;
        set = add_set(s, (ag_kept_set){n + m, hash, kept(s, a)->at, 1});
    } else {
        set = add_array(s, x, n, y, m, hash);
    }
    if (set) *place = set - s->n;
    return set;
}

static uint32_t merge(ag_sets *s, const uint32_t *x, uint32_t n, const uint32_t *y, uint32_t m) {
    uint32_t *to = ag_list_room(s->memory, &s->merged, sizeof *to, n + m), k = 0;
    if (!to) return fail(s);
    for (uint32_t i = 0, j = 0; i < n || j < m;) {
        uint32_t e = j == m || (i < n && x[i] < y[j]) ? x[i] : y[j];
        i += i < n && x[i] == e;
        j += j < m && y[j] == e;
        to[k++] = e;
    }
    return intern(s, to, k);
}

static uint32_t unite(ag_sets *s, uint32_t a, uint32_t b) {
    if (is_pair(s, a) || is_pair(s, b)) return add_pair(s, a, b);
    uint32_t one[2], n, m;
    const uint32_t *x = elements_of(s, a, &one[0], &n), *y = elements_of(s, b, &one[1], &m);
    if (n < m) return unite(s, b, a);
    if (is_part(y, m, x, n)) return a;
    bool behind = n > SMALL && x[n - 1] < y[0];
    bool grows = behind && array_at(s, kept(s, a)->at)->count == n; /* in place */
    if (n > SMALL && !grows && n + m > s->budget) return add_pair(s, a, b);
    return behind ? append(s, a, x, n, y, m) : merge(s, x, n, y, m);
}

uint32_t ag_sets_union(ag_sets *s, uint32_t a, uint32_t b) {
    if (s->failed) return 0;
    if (a == b || !b) return a;
    if (!a) return b;
    if (a > b) return ag_sets_union(s, b, a);
    struct ag_united *known = &s->recent[(a * 0x9E3779B1u ^ b * 0x85EBCA6Bu) >> 18];
    if (known->a == a && known->b == b) return known->both;
    uint32_t both = unite(s, a, b);
    if (!s->failed) *known = (struct ag_united){a, b, both};
    return both;
}

/* ---- listing ---- */

uint32_t ag_sets_count(const ag_sets *s, uint32_t set) {
    return s->failed || !set ? 0 : set <= s->n ? 1 : kept(s, set)->count;
}

static int ascending(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static bool open_walk(ag_sets *s) {
    if (!s->mark) s->mark = ag_memory_zeroed(s->memory, s->n * sizeof *s->mark + 1);
    if (!s->seen) {
        s->seen_count = s->sets.count;
        s->seen = ag_memory_zeroed(s->memory, s->seen_count * sizeof *s->seen + 1);
    }
    s->stack.count = 0;
    s->walk++;
    return s->mark && s->seen;
}

static bool push(ag_sets *s, uint32_t set) {
    uint32_t *to = ag_list_room(s->memory, &s->stack, sizeof *to, 1);
    if (!to) return false;
    *to = set;
    s->stack.count++;
    return true;
}

/* Appends the elements that no walk has marked yet. */
static bool list_new(ag_sets *s, uint32_t set, ag_list *to) {
    uint32_t one, n;
    const uint32_t *x = elements_of(s, set, &one, &n);
    int32_t *at = ag_list_room(s->memory, to, sizeof *at, n);
    if (!at) return false;
    for (uint32_t i = 0; i < n; i++) {
        if (s->mark[x[i]] == s->walk) continue;
        s->mark[x[i]] = s->walk;
        *at++ = (int32_t)x[i];
        to->count++;
    }
    return true;
}

static bool list_pair(ag_sets *s, uint32_t set, ag_list *to) {
    uint64_t before = to->count;
    bool ok = open_walk(s) && push(s, set);
    while (ok && s->stack.count) {
        uint32_t top = ((uint32_t *)(void *)s->stack.range.base)[--s->stack.count];
        if (top > s->n) {
            uint32_t *seen = &s->seen[top - s->n - 1];
            if (*seen == s->walk) continue;
            *seen = s->walk;
        }
        if (is_pair(s, top)) ok = push(s, kept(s, top)->at) && push(s, kept(s, top)->large);
        else ok = list_new(s, top, to);
    }
    int32_t *listed = (int32_t *)(void *)to->range.base + before;
    if (ok && (to->count - before) * 16 > s->n) {
        for (uint32_t i = 0; i < s->n; i++)
            if (s->mark[i] == s->walk) *listed++ = (int32_t)i;
    } else if (ok) {
        qsort(listed, to->count - before, sizeof *listed, ascending);
    }
    return ok;
}

bool ag_sets_list(ag_sets *s, uint32_t set, ag_list *to) {
    if (s->failed || !set) return !s->failed;
    if (is_pair(s, set)) return list_pair(s, set, to);
    uint32_t one, n;
    const uint32_t *x = elements_of(s, set, &one, &n);
    int32_t *at = ag_list_room(s->memory, to, sizeof *at, n);
    if (!at) return false;
    for (uint32_t i = 0; i < n; i++) at[i] = (int32_t)x[i];
    to->count += n;
    return true;
}
