/* What is wrong with a claim: one function for each kind of mistake, tried in the order of NN_DIAGNOSES. */
#include "nn/check/claim_impl.h"
#include "nn/compare.h"

#include <inttypes.h>
#include <stdatomic.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

static int64_t total(const nn_claim *claim) { return nn_shape_count(claim->right_shape) * claim->draws; }

/* Can entries from this one on be looked at a block at a time? */
static bool starts_block(const nn_claim *claim, int64_t i) {
    return i % NN_BLOCK == 0 && i + NN_BLOCK <= total(claim) && claim->unit == NULL && claim->base == NULL;
}

int64_t nn_claim_greatest(const nn_claim *claim) {
    int64_t greatest = -1, n = total(claim);
    if (claim->greatest > 0 && claim->base == NULL) return claim->greatest - 1;
    for (int64_t i = 0; i < n; i++) {
        double x = fabs(nn_right_at(claim, i)), most = greatest < 0 ? -1 : fabs(nn_right_at(claim, greatest));
        if (greatest >= 0 && starts_block(claim, i) && nn_block_is_near(claim->right + i, claim->right + i, 0, most, 0))
            i += NN_BLOCK - 1;
        else if (x > most && isfinite(x)) greatest = i;
    }
    return greatest;
}

/* The greatest of the right numbers, but for infinities. */
static double greatest_right(const nn_claim *claim) {
    int64_t greatest = nn_claim_greatest(claim);
    return greatest < 0 ? 0 : fabs(nn_right_at(claim, greatest));
}

double nn_claim_floor(const nn_claim *claim) {
    double size = greatest_right(claim);
    return NN_TOLERANCE * (size > 0 && size < 1 ? size : 1);
}

double nn_claim_slack(const nn_claim *claim, int64_t i, double target, double size) {
    double slack = NN_TOLERANCE * fabs(target);
    if (!(slack > claim->floor)) slack = claim->floor;
    if (claim->tolerance > slack) slack = claim->tolerance;
    return claim->unit == NULL ? slack : fmax(fmax(slack, nn_claim_tolerance(claim, i)), 0.01 * size);
}

/* Is claimed element i `target`, or was it before it was rounded (or computed from rounded numbers)? `size` is that
 * of the numbers it is among. */
static bool fits(const nn_claim *claim, int64_t i, double target, double size) {
    return nn_is_within(nn_claimed_at(claim, i), target, nn_claim_slack(claim, i, target, size));
}

/* Is claimed c times `right`? Parts are looked at by all threads, if there are many. */
typedef struct multiple {
    const nn_claim *claim;
    double c, size, fixed;
    atomic_llong next;
    atomic_bool fits;
} multiple;

enum { PART = 64 * NN_BLOCK, MANY = 32 * PART };

static bool part_fits(const multiple *m, int64_t start, int64_t end) {
    const nn_claim *claim = m->claim;
    for (int64_t i = start; i < end; i++)
        if (starts_block(claim, i) &&
            nn_block_is_near(claim->claimed + i, claim->right + i, m->c, m->fixed, NN_TOLERANCE))
            i += NN_BLOCK - 1;
        else if (!fits(claim, i, m->c * nn_right_at(claim, i), m->size)) return false;
    return true;
}

static void try_parts(void *context, int thread) {
    multiple *m = context;
    int64_t n = total(m->claim);
    (void)thread;
    while (atomic_load(&m->fits)) {
        int64_t start = atomic_fetch_add(&m->next, PART);
        if (start >= n) return;
        if (!part_fits(m, start, start + PART < n ? start + PART : n)) atomic_store(&m->fits, false);
    }
}

static bool fits_factor(const void *context, double c) {
    const nn_claim *claim = context;
    int64_t n = total(claim);
    multiple m = {.claim = claim, .c = c, .fixed = fmax(claim->floor, claim->tolerance)};
    m.size = claim->unit == NULL ? 0 : fabs(c) * greatest_right(claim);
    if (n < MANY) return part_fits(&m, 0, n);
    if (!part_fits(&m, 0, PART)) return false; /* as most do not */
    atomic_store(&m.next, PART);
    atomic_store(&m.fits, true);
    ag_parallel_long(ag_threads(), try_parts, &m);
    return atomic_load(&m.fits);
}

/* ---- words ----------------------------------------------------------------------------------------------------- */

static void say_subject(const nn_claim *claim, nn_diagnosis *d) {
    if (claim->base != NULL) nn_text_add(d->detail, sizeof d->detail, "apart from %s, ", claim->base_name);
    nn_text_add(d->detail, sizeof d->detail, "it is ");
}

static void say_place(ag_shape shape, int64_t entry, nn_diagnosis *d) {
    if (shape.rank == 1) nn_text_add(d->detail, sizeof d->detail, "entry %" PRId64, entry + 1);
    else if (shape.rank == 2)
        nn_text_add(d->detail, sizeof d->detail, "entry (%" PRId64 ", %" PRId64 ")", entry / shape.dim[1] + 1,
                    entry % shape.dim[1] + 1);
    else if (shape.rank > 2) nn_text_add(d->detail, sizeof d->detail, "entry number %" PRId64, entry + 1);
}

/* "claimed 0.994, right 0.991": as many decimals as were printed, and at least three digits. */
static void say_numbers(const nn_claim *claim, int64_t entry, double claimed, double right, nn_diagnosis *d) {
    double unit = claim->unit == NULL ? 0 : claim->unit[entry];
    int digits = 6, typed = claim->unit == NULL ? nn_digits_for(claimed, claimed - right, 6) : 15;
    if (unit > 0) digits = right == 0 ? 3 : (int)fmin(fmax(3, floor(log10(fabs(right))) + 1 - round(log10(unit))), 15);
    digits = nn_digits_for(right, claimed - right, digits);
    nn_text_add(d->detail, sizeof d->detail, "claimed %.*g, right %.*g", typed, nn_plain(claimed), digits,
                nn_plain(right));
}

static void say_pair(const nn_claim *claim, int64_t i, nn_diagnosis *d) {
    say_numbers(claim, i % nn_shape_count(claim->right_shape), claim->claimed[i], claim->right[i], d);
}

/* ---- entries --------------------------------------------------------------------------------------------------- */

/* The first draw at which an entry is wrong; -1 if there is none. */
static int wrong_draw(const nn_claim *claim, int64_t entry) {
    int64_t count = nn_shape_count(claim->right_shape);
    for (int draw = 0; draw < claim->draws; draw++)
        if (!nn_claim_entry_holds(claim, draw * count + entry)) return draw;
    return -1;
}

/* The exponent of ten nearest to claimed / right; 0 if there is none. */
static double exponent(const nn_claim *claim, int64_t i) {
    double ratio = nn_claimed_at(claim, i) / nn_right_at(claim, i);
    return ratio > 0 && isfinite(ratio) ? round(log10(ratio)) : 0;
}

/* An entry is by itself here, so rounding is in proportion to it and not to the greatest one. */
static bool fits_power(const nn_claim *claim, int64_t entry, double power) {
    int64_t count = nn_shape_count(claim->right_shape);
    for (int draw = 0; draw < claim->draws; draw++) {
        double target = power * nn_right_at(claim, draw * count + entry);
        if (!fits(claim, draw * count + entry, target, fabs(target))) return false;
    }
    return true;
}

/* Notes a wrong entry; the first of its draws at which it is one. */
static void note_entry(nn_diagnosis *d, int64_t entry) {
    if (d->entries == 0) d->entry = entry;
    if (d->entries < NN_PLACES) d->places[d->entries] = entry;
    d->entries++;
}

/* "entry 2", "entries 2, 3 and 5", "entries 1, 2, 3 and 4 more", "all entries". */
static void say_entries(const nn_claim *claim, nn_diagnosis *d) {
    enum { SHOWN = 3 };
    ag_shape shape = claim->right_shape;
    int64_t shown = d->entries <= SHOWN ? d->entries : SHOWN;
    if (d->entries == 1) {
        say_place(shape, d->entry, d);
        return;
    }
    if (d->entries == nn_shape_count(shape)) {
        nn_text_add(d->detail, sizeof d->detail, "all entries");
        return;
    }
    nn_text_add(d->detail, sizeof d->detail, "entries ");
    for (int64_t i = 0; i < shown; i++) {
        const char *before = i == 0 ? "" : i + 1 == d->entries ? " and " : ", ";
        nn_text_add(d->detail, sizeof d->detail, "%s", before);
        if (shape.rank == 2)
            nn_text_add(d->detail, sizeof d->detail, "(%" PRId64 ", %" PRId64 ")", d->places[i] / shape.dim[1] + 1,
                        d->places[i] % shape.dim[1] + 1);
        else nn_text_add(d->detail, sizeof d->detail, "%" PRId64, d->places[i] + 1);
    }
    if (d->entries > shown) nn_text_add(d->detail, sizeof d->detail, " and %" PRId64 " more", d->entries - shown);
}

static bool find_power_of_ten(const nn_claim *claim, nn_diagnosis *d) {
    int64_t count = nn_shape_count(claim->right_shape);
    double k = 0;
    for (int64_t e = 0; e < count; e++) {
        int draw = wrong_draw(claim, e);
        if (draw < 0) continue;
        if (d->entries == 0) k = exponent(claim, draw * count + e);
        note_entry(d, e);
        if (k == 0 || !fits_power(claim, e, pow(10, k))) return false;
    }
    d->factor = pow(10, k);
    say_entries(claim, d);
    nn_text_add(d->detail, sizeof d->detail, "%s%g times too %s: ", claim->right_shape.rank > 0 ? ": " : "",
                pow(10, fabs(k)), k > 0 ? "large" : "small");
    say_pair(claim, wrong_draw(claim, d->entry) * count + d->entry, d);
    return true;
}

static bool find_entries(const nn_claim *claim, nn_diagnosis *d) {
    enum { SHOWN = 3 };
    int64_t count = nn_shape_count(claim->right_shape);
    for (int64_t e = 0; e < count; e++) {
        int draw = wrong_draw(claim, e);
        if (draw < 0) continue;
        note_entry(d, e);
        if (d->entries > SHOWN) continue;
        nn_text_add(d->detail, sizeof d->detail, d->entries > 1 ? "; " : "");
        say_place(claim->right_shape, e, d);
        nn_text_add(d->detail, sizeof d->detail, ": ");
        say_pair(claim, draw * count + e, d);
    }
    if (d->entries > SHOWN) nn_text_add(d->detail, sizeof d->detail, "; and %" PRId64 " more", d->entries - SHOWN);
    return count > 1 && (d->entries == 1 || d->entries <= count / 3);
}

/* ---- arrangement ----------------------------------------------------------------------------------------------- */

bool nn_is_turned(const nn_claim *claim) {
    ag_shape right = claim->right_shape, claimed = claim->claimed_shape;
    int64_t columns = right.rank == 1 ? 1 : right.dim[1];
    return (right.rank == 1 || right.rank == 2) && claimed.rank == 2 && claimed.dim[0] == columns &&
           claimed.dim[1] == right.dim[0];
}

/* Of two shapes, in brackets. */
static void say_shapes(const nn_claim *claim, nn_diagnosis *d) {
    char claimed[96], right[96];
    nn_shape_phrase(claim->claimed_shape, claimed, sizeof claimed);
    nn_shape_phrase(claim->right_shape, right, sizeof right);
    nn_text_add(d->detail, sizeof d->detail, " (claimed %s, right %s)", claimed, right);
}

static bool find_transpose(const nn_claim *claim, nn_diagnosis *d) {
    if (!nn_is_turned(claim)) return false;
    int64_t m = claim->claimed_shape.dim[1], n = claim->claimed_shape.dim[0];
    double size = claim->unit == NULL ? 0 : greatest_right(claim); /* what only rounding needs */
    for (int64_t start = 0; start < total(claim); start += m * n)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++)
                if (!fits(claim, start + j * m + i, nn_right_at(claim, start + i * n + j), size)) return false;
    say_subject(claim, d);
    nn_text_add(d->detail, sizeof d->detail, "the transpose of the right one");
    if (!nn_same_shape(claim->claimed_shape, claim->right_shape)) say_shapes(claim, d);
    return true;
}

static bool find_shape(const nn_claim *claim, nn_diagnosis *d) {
    char claimed[96], right[96];
    nn_shape_phrase(claim->claimed_shape, claimed, sizeof claimed);
    nn_shape_phrase(claim->right_shape, right, sizeof right);
    nn_text_add(d->detail, sizeof d->detail, "claimed is %s, right is %s", claimed, right);
    return !nn_same_shape(claim->claimed_shape, claim->right_shape);
}

/* ---- factors --------------------------------------------------------------------------------------------------- */

static bool find_sign(const nn_claim *claim, nn_diagnosis *d) {
    if (!fits_factor(claim, -1)) return false;
    say_subject(claim, d);
    nn_text_add(d->detail, sizeof d->detail, "the negative of the right one");
    return true;
}

static bool find_log_base(const nn_claim *claim, nn_diagnosis *d) {
    static const struct {
        double factor;
        const char *words;
    } bases[] = {
        {0.434294481903251827651, "divided by ln 10: the base-10 logarithm was taken, right is the natural one"},
        {1.442695040888963407360, "divided by ln 2: the base-2 logarithm was taken, right is the natural one"},
        {2.302585092994045684018, "times ln 10: the natural logarithm was taken, right is the base-10 one"},
        {0.693147180559945309417, "times ln 2: the natural logarithm was taken, right is the base-2 one"},
    };
    for (int i = 0; i < COUNT(bases); i++) {
        if (!fits_factor(claim, bases[i].factor)) continue;
        d->factor = bases[i].factor;
        say_subject(claim, d);
        nn_text_add(d->detail, sizeof d->detail, "the right one %s", bases[i].words);
        return true;
    }
    return false;
}

/* ", which is 1/n": the named length that a factor is, or is one over. A 2 or 1/2 has other reasons more often. */
static void say_sizes(const nn_claim *claim, double c, char *words, size_t size) {
    if (fabs(c) == 2 || fabs(c) == 0.5) return;
    for (int i = 0; i < claim->size_count; i++) {
        double n = (double)claim->sizes[i].size;
        bool inverse = fabs(c) == 1 / n;
        if (n < 2 || (fabs(c) != n && !inverse)) continue;
        nn_text_add(words, size, ", which is %s%s%s", c < 0 ? "-" : "", inverse ? "1/" : "", claim->sizes[i].name);
        return;
    }
}

static bool is_near(double candidate, double c) { return fabs(candidate - c) <= 0.05 * fabs(c); }

/* Small fractions first, simplest first; then a named length n or 1/n. A single printed number is near some fraction
 * anyway, so for that only whole numbers and their inverses count. */
bool nn_known_factor(const nn_claim *claim, double c, bool (*fits_it)(const void *context, double c),
                     const void *context, double *known, char *words, size_t size) {
    bool single = claim->unit != NULL && total(claim) == 1;
    *words = '\0';
    for (int sum = 2; sum <= 18; sum++)
        for (int q = 1; q < sum && q <= 9; q++) {
            int numerator = sum - q;
            *known = copysign((double)numerator / q, c);
            if (numerator > 9 || *known == 1 || (single && numerator > 1 && q > 1)) continue;
            if (!is_near(*known, c) || !fits_it(context, *known)) continue;
            nn_text_add(words, size, q > 1 ? "%s%d/%d" : "%s%d", c < 0 ? "-" : "", numerator, q);
            say_sizes(claim, *known, words, size);
            return true;
        }
    for (int i = 0; i < claim->size_count; i++)
        for (int inverse = 0; inverse < 2; inverse++) {
            double n = (double)claim->sizes[i].size;
            *known = copysign(inverse ? 1 / n : n, c);
            if (n < 2 || !is_near(*known, c) || !fits_it(context, *known)) continue;
            nn_text_add(words, size, "%s%s%g", c < 0 ? "-" : "", inverse ? "1/" : "", n);
            say_sizes(claim, *known, words, size);
            return true;
        }
    return false;
}

/* A single number is some multiple of any other, which explains nothing: only if nothing else does (`last`), and never for
 * a printed one. */
static bool find_some_factor(const nn_claim *claim, nn_diagnosis *d, bool last) {
    char words[200];
    bool literal = claim->unit != NULL, single = total(claim) == 1;
    int64_t greatest = nn_claim_greatest(claim);
    double c = greatest < 0 ? NAN : nn_claimed_at(claim, greatest) / nn_right_at(claim, greatest);
    if (!isfinite(c) || (last && (literal || !single))) return false;
    if (!nn_known_factor(claim, c, fits_factor, claim, &d->factor, words, sizeof words)) {
        if (fabs(c) < NN_TOLERANCE || fabs(c - 1) < (literal ? 0.02 : NN_TOLERANCE) || (single && !last)) return false;
        d->factor = c;
        snprintf(words, sizeof words, "%.*g", literal ? 3 : 6, c);
        if (!fits_factor(claim, c)) return false;
    }
    size_t number = strcspn(words, ",");
    say_subject(claim, d);
    nn_text_add(d->detail, sizeof d->detail, "%.*s times the right one%s", (int)number, words, words + number);
    return true;
}

static bool find_factor(const nn_claim *claim, nn_diagnosis *d) { return find_some_factor(claim, d, false); }
static bool find_last_factor(const nn_claim *claim, nn_diagnosis *d) { return find_some_factor(claim, d, true); }

/* What the caller finds. */
static bool find_elsewhere(const nn_claim *claim, nn_diagnosis *d) {
    return claim->search != NULL && claim->base == NULL && claim->search(claim->context, d);
}

/* ---- all of them ----------------------------------------------------------------------------------------------- */

static bool find_unknown(const nn_claim *claim, nn_diagnosis *d) {
    nn_comparison worst = claim->worst == NULL ? nn_claim_compare(claim) : *claim->worst;
    nn_text_add(d->detail, sizeof d->detail, "largest error %.3g", nn_plain(worst.error));
    if (claim->right_shape.rank > 0) nn_text_add(d->detail, sizeof d->detail, " at ");
    say_place(claim->right_shape, worst.entry, d);
    nn_text_add(d->detail, sizeof d->detail, ": ");
    say_numbers(claim, worst.entry, worst.claimed, worst.right, d);
    return true;
}

typedef struct finder {
    nn_diagnosis_kind kind; /* NN_NOTHING_WRONG: the finder says */
    bool any_shape;         /* works on shapes that differ */
    bool (*find)(const nn_claim *claim, nn_diagnosis *diagnosis);
} finder;

/* The first of them that explains everything. */
static bool find_first(const finder *finders, int count, const nn_claim *claim, nn_diagnosis *d) {
    bool same_shape = nn_same_shape(claim->claimed_shape, claim->right_shape);
    for (int i = 0; i < count; i++) {
        memset(d, 0, sizeof *d);
        d->kind = finders[i].kind;
        if ((same_shape || finders[i].any_shape) && finders[i].find(claim, d)) return true;
    }
    memset(d, 0, sizeof *d);
    return false;
}

static bool holds(const nn_claim *claim) {
    int64_t n = total(claim);
    if (!nn_same_shape(claim->claimed_shape, claim->right_shape)) return false;
    if (claim->worst != NULL) return claim->worst->holds;
    for (int64_t i = 0; i < n; i++)
        if (!nn_claim_entry_holds(claim, i)) return false;
    return true;
}

nn_diagnosis nn_claim_diagnose(const nn_claim *claim) {
    static const finder mistakes[] = {
        {NN_POWER_OF_TEN, false, find_power_of_ten},
        {NN_ENTRIES, false, find_entries},
        {NN_SIGN, false, find_sign},
        {NN_TRANSPOSE, true, find_transpose},
        {NN_LOG_BASE, false, find_log_base},
        {NN_FACTOR, false, find_factor},
        {NN_NOTHING_WRONG, true, find_elsewhere},
    };
    static const finder rest[] = {
        {NN_FACTOR, false, find_last_factor},
        {NN_SHAPE, true, find_shape},
        {NN_UNKNOWN, true, find_unknown},
    };
    nn_diagnosis d;
    memset(&d, 0, sizeof d);
    if (holds(claim)) return d;
    nn_claim whole = *claim, rest_of_it;
    whole.base = NULL;
    if (!(whole.floor > 0)) whole.floor = nn_claim_floor(&whole);
    rest_of_it = whole;
    rest_of_it.base = claim->base;
    bool part = claim->base != NULL && nn_same_shape(claim->claimed_shape, claim->right_shape);
    if (find_first(mistakes, COUNT(mistakes), &whole, &d) ||
        (part && find_first(mistakes, COUNT(mistakes), &rest_of_it, &d)))
        return d;
    find_first(rest, COUNT(rest), &whole, &d);
    return d;
}
