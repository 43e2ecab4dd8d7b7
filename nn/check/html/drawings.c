/* Drawings of computations, within the page. */
#include "nn/check/html/html_impl.h"
#include "nn/memory.h"

#include <stdlib.h>

static const double SECONDS = 5; /* for a picture */
enum {
    DRAWN = 3,
    MOST_FUNCTIONS = 64,
    MOST_STEPS = 90,
    LONGEST_LINE = 4096,
    MOST_SLOTS = 1 << 16,
    WIDEST = 900 /* points */
};

/* ---- Graphviz's language ---------------------------------------------------------------------------------------- */

typedef enum direction { DOWN, RIGHT } direction;

static const char to_the_right[] = "rankdir=LR;";

/* How a drawing in a page differs from one on a screen of its own: it is small, and without ellipses, which are wide. */
static const struct {
    const char *from, *to;
} changes[] = {
    {"fontsize=11]", "fontsize=11 margin=\"0.14,0.06\" height=0.3]"},
    {"shape=ellipse peripheries=2", "shape=box style=rounded"},
    {"shape=ellipse", "shape=box style=rounded"},
    {to_the_right, "rankdir=TB; bgcolor=transparent; nodesep=0.2; ranksep=0.3;"},
};

/* Four digits are enough to follow by eye; the name before the first line's end stays. */
static void put_label(FILE *out, const char *label) {
    const char *c = strstr(label, "\\n");
    if (c == NULL) c = label + strlen(label);
    fprintf(out, "%.*s", (int)(c - label), label);
    while (*c != '\0') {
        size_t length = strspn(c, "0123456789.e+-");
        char *end = NULL;
        double x = length > 0 && *c != '.' && memchr(c, '.', length) != NULL ? strtod(c, &end) : 0;
        if (end != NULL && end > c) {
            fprintf(out, "%.4g", x);
            c = end;
        } else fputc(*c++, out);
    }
}

/* Attributes stand before the label, and a label has no '=' without blanks around it. */
static void put_changed(FILE *out, const char *line, direction d) {
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const char *found = strstr(line, changes[i].from), *label = strstr(line, "label=");
        if (found == NULL || (label != NULL && label < found)) continue;
        bool kept = d == RIGHT && changes[i].from == to_the_right;
        fprintf(out, "%.*s%s", (int)(found - line), line,
                kept ? "rankdir=LR; nodesep=0.15; ranksep=0.3;" : changes[i].to);
        line = found + strlen(changes[i].from);
        break;
    }
    const char *label = strstr(line, " -> ") != NULL ? strstr(line, " [label=") : NULL; /* a place, counted from 0 */
    if (label != NULL) fprintf(out, "%.*s;\n", (int)(label - line), line);
    else put_label(out, line);
}

/* The vertices that an edge leads from or to, as bits: "  s12 -> s30;", where n12 is a number and s12 a slot. */
typedef struct ends {
    unsigned char slots[MOST_SLOTS / 8];
} ends;

static bool is_end(const ends *e, unsigned slot) { return slot >= MOST_SLOTS || e->slots[slot / 8] >> slot % 8 & 1; }

static void note_ends(ends *e, const char *line) {
    unsigned from, to;
    char kind;
    if (sscanf(line, "  %c%u -> s%u", &kind, &from, &to) != 3) return;
    if (kind == 's' && from < MOST_SLOTS) e->slots[from / 8] |= (unsigned char)(1u << from % 8);
    if (to < MOST_SLOTS) e->slots[to / 8] |= (unsigned char)(1u << to % 8);
}

/* Lengths of vectors, say: numbers that nothing is computed from. */
static bool is_alone(const ends *e, const char *line) {
    unsigned slot;
    char bracket;
    return sscanf(line, "  s%u %c", &slot, &bracket) == 2 && bracket == '[' && !is_end(e, slot);
}

static bool change_graph(FILE *from, FILE *to, direction d) {
    char line[LONGEST_LINE];
    ends e = {{0}};
    bool edges = false;
    if (fseek(from, 0, SEEK_SET) != 0) return false;
    while (fgets(line, sizeof line, from) != NULL) {
        note_ends(&e, line);
        edges = edges || strstr(line, "-> s") != NULL;
    }
    if (fseek(from, 0, SEEK_SET) != 0) return false;
    while (fgets(line, sizeof line, from) != NULL)
        if (!edges || !is_alone(&e, line)) put_changed(to, line, d);
    return !ferror(from) && !ferror(to);
}

/* ---- SVG -------------------------------------------------------------------------------------------------------- */

/* Behind the first `mark` in what is left. */
static const char *behind(const char *c, const char *end, const char *mark) {
    size_t n = strlen(mark);
    for (; c + n <= end; c++)
        if (memcmp(c, mark, n) == 0) return c + n;
    return NULL;
}

static bool starts(const char *c, const char *end, const char *mark) {
    return (size_t)(end - c) >= strlen(mark) && memcmp(c, mark, strlen(mark)) == 0;
}

/* In points; 0 if it is no picture. */
static double width_of(const char *svg, size_t size) {
    const char *end = svg + size, *c = behind(svg, end, "<svg width=\"");
    return c == NULL || behind(c, end, "pt\"") == NULL || behind(c, end, "</svg>") == NULL ? 0 : strtod(c, NULL);
}

/* The picture alone: no prologue, comments, titles (they would be tooltips that say "s12") or ids (there are several
 * pictures in a page). Adjoints get a class. It may be shown smaller than it is, but not too small to be read. */
static void put_svg(FILE *out, const char *svg, size_t size) {
    const char *end = svg + size, *c = behind(svg, end, "<svg");
    bool inside = true; /* a tag */
    fprintf(out, "<svg class=\"graph\" role=\"img\" style=\"min-width:%.0fpt\"", width_of(svg, size) * 0.7);
    while (c != NULL && c < end) {
        if (starts(c, end, "<!--")) c = behind(c, end, "-->");
        else if (starts(c, end, "<title>")) c = behind(c, end, "</title>");
        else if (inside && starts(c, end, " id=\"")) c = behind(c + 5, end, "\"");
        else if (starts(c, end, "<text")) {
            const char *text = behind(c, end, ">");
            fputs(text != NULL && starts(text, end, "adjoint") ? "<text class=\"adjoint\"" : "<text", out);
            c += 5;
            inside = true;
        } else {
            if (*c == '<') inside = true;
            if (*c == '>') inside = false;
            fputc(*c++, out);
        }
    }
}

/* ---- a function ------------------------------------------------------------------------------------------------- */

static void put_caption(FILE *out, const ac_file *file, const ac_drawn *d, bool law, bool adjoints) {
    fputs("<figcaption>How ", out);
    ac_html_formula(out, &file->source, d->function);
    fputs(" is computed", out);
    if (law) fputs(", at the first draw", out);
    fprintf(out, "%s</figcaption>\n", adjoints ? ". Under each value its adjoint: the derivative by it." : ".");
}

static void put_drawing(FILE *out, const ac_file *file, const ac_drawn *d, const char *svg, size_t size,
                        bool adjoints) {
    fputs("<figure class=\"drawing\">\n", out);
    put_caption(out, file, d, d->statement->random, adjoints);
    fputs("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"drawing of the computation\">", out);
    put_svg(out, svg, size);
    fputs("</div></figure>\n", out);
}

static void put_why_not(FILE *out, const ac_file *file, const ac_drawn *d, const char *why) {
    fputs("<p class=\"note\">The computation of ", out);
    ac_html_formula(out, &file->source, d->function);
    fprintf(out, " is not drawn: %s.</p>\n", why);
}

/* A picture in one direction; why not, or NULL. */
static const char *picture_of(FILE *graph, direction d, double seconds, char **svg, size_t *size,
                              ac_graphviz *graphviz) {
    FILE *changed = tmpfile();
    const char *why = "there is no place for temporary files";
    *svg = NULL;
    if (changed != NULL && change_graph(graph, changed, d))
        why = ac_graphviz_run(changed, seconds, svg, size, graphviz);
    if (changed != NULL) fclose(changed);
    if (why != NULL || width_of(*svg, *size) > 0) return why;
    nn_release(*svg);
    *svg = NULL;
    return "Graphviz failed";
}

/* From the top down, or to the right if that is narrower and has to be. */
static const char *best_picture(FILE *graph, double seconds, char **svg, size_t *size, ac_graphviz *graphviz) {
    char *other;
    size_t other_size;
    const char *why = picture_of(graph, DOWN, seconds, svg, size, graphviz);
    double width = why == NULL ? width_of(*svg, *size) : 0;
    if (width < WIDEST || picture_of(graph, RIGHT, seconds, &other, &other_size, graphviz) != NULL) return why;
    bool narrower = width_of(other, other_size) < width;
    nn_release(narrower ? *svg : other);
    if (narrower) {
        *svg = other;
        *size = other_size;
    }
    return NULL;
}

/* Writes it; why not, in words (perhaps in `words`), or NULL. */
static const char *draw(FILE *out, const ac_file *file, const ac_drawn *d, const ac_options *options,
                        ac_graphviz *graphviz, char words[80]) {
    FILE *graph = tmpfile();
    char *svg = NULL;
    size_t size = 0;
    bool adjoints = false;
    int64_t steps = 0;
    double limit = options->limits.seconds, seconds = limit > 0 && limit < SECONDS ? limit : SECONDS;
    const char *why = "there is no place for temporary files";
    if (graph != NULL) {
        if (ac_draw_function(file, d, options, MOST_STEPS, graph, &steps, &adjoints))
            why = best_picture(graph, seconds, &svg, &size, graphviz);
        else why = "it cannot be computed by itself";
        fclose(graph);
    }
    if (steps > MOST_STEPS) {
        snprintf(words, 80, "it has %lld steps, more than the eye can follow", (long long)steps);
        why = words;
    }
    if (why == NULL) put_drawing(out, file, d, svg, size, adjoints);
    nn_release(svg);
    return why;
}

void ac_html_drawings(FILE *out, const ac_file *file, const ac_options *options, int number, ac_graphviz *graphviz) {
    ac_drawn found[MOST_FUNCTIONS];
    int count = file->error.set ? 0 : ac_find_functions(file, found, MOST_FUNCTIONS);
    if (count == 0 || *graphviz != AC_GRAPHVIZ_WORKS) return;
    fprintf(
        out,
        "<section class=\"drawings\" aria-labelledby=\"f%d-drawings\">\n<h3 id=\"f%d-drawings\">The computation</h3>\n",
        number, number);
    for (int i = 0; i < count && i < DRAWN && *graphviz == AC_GRAPHVIZ_WORKS; i++) {
        char words[80];
        const char *why = draw(out, file, &found[i], options, graphviz, words);
        if (why != NULL) put_why_not(out, file, &found[i], why);
    }
    if (count > DRAWN)
        fprintf(out, "<p class=\"note\">%s%d other functions are differentiated here; they are not drawn.</p>\n",
                count == MOST_FUNCTIONS ? "At least " : "", count - DRAWN);
    fputs("</section>\n", out);
}
