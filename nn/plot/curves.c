/* Curves as SVG. Coordinates are tenths of pixels, as integers: small, and the same in every locale. */
#include "nn/plot/plot_impl.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { COLOURS = 8, LETTER = 7, LINE = 20, LEAST = 100, MOST = 10000 }; /* pixels */

/* Told apart by readers who see fewer colours, too; on a light and on a dark background. */
static const char *const light[COLOURS] = {"#2a78d6", "#eb6834", "#1baf7a", "#4a3aa7",
                                           "#eda100", "#e87ba4", "#008300", "#e34948"};
static const char *const dark[COLOURS] = {"#3987e5", "#d95926", "#199e70", "#9085e9",
                                          "#c98500", "#d55181", "#008300", "#e66767"};

typedef struct plot {
    FILE *out;
    const nn_curves_options *o;
    const nn_curve *curves;
    int count;
    nn_axis x, y;
    int width, height, left, right, top, bottom; /* of the picture; of the box within it */
} plot;

/* ---- text ---- */

/* What XML can hold; the rest becomes a question mark. */
static void put_text(FILE *out, const char *text) {
    const uint8_t *at = (const uint8_t *)text, *end = at + strlen(text);
    while (at < end) {
        const uint8_t *from = at;
        int64_t point = nn_utf8_next(&at, end);
        if (point < 0) at = from + 1;
        if (point == '&') (void)fputs("&amp;", out);
        else if (point == '<') (void)fputs("&lt;", out);
        else if (point == '>') (void)fputs("&gt;", out);
        else if (point < 0 || point == 0xfffe || point == 0xffff) (void)fputc('?', out);
        else if (point < ' ' || point == 0x7f) (void)fputc(' ', out);
        else (void)fwrite(from, 1, (size_t)(at - from), out);
    }
}

/* About as wide as it is drawn. */
static int text_width(const char *text) {
    int letters = 0;
    for (; *text != '\0' && letters < 1000; text++) letters += ((unsigned char)*text & 0xc0) != 0x80;
    return letters * LETTER;
}

static void put_label(const plot *p, int x, int y, const char *class, const char *text) {
    fprintf(p->out, "<text x=\"%d\" y=\"%d\" class=\"%s\">", x, y, class);
    put_text(p->out, text);
    (void)fputs("</text>\n", p->out);
}

/* Once there are no more colours, lines are dashed. */
static void open_path(const plot *p, int k) {
    fprintf(p->out, "<path class=\"c%d\"%s d=\"", k % COLOURS, k >= COLOURS ? " stroke-dasharray=\"6 5\"" : "");
}

/* ---- legend ---- */

/* Places names in rows; draws them if that is wanted. Returns the rows. */
static int legend(const plot *p, int top, bool draw) {
    enum { SWATCH = 26, GAP = 18 };
    int x = p->left, rows = 0;
    for (int i = 0; i < p->count; i++) {
        const char *name = p->curves[i].name;
        if (name == NULL || *name == '\0') continue;
        int width = SWATCH + text_width(name);
        if (rows == 0 || x + width > p->width - 10) {
            x = p->left;
            rows++;
        }
        int y = top + rows * LINE - LINE / 2;
        if (draw) {
            open_path(p, i);
            fprintf(p->out, "M%d %dh18\"/>", x, y);
            put_label(p, x + SWATCH, y + 4, "l", name);
        }
        x += width + GAP;
    }
    return rows;
}

/* ---- curves ---- */

/* A place in tenths of pixels. */
typedef struct point {
    int x, y;
} point;

static point place(const plot *p, double x, double y) {
    double across = nn_axis_place(&p->x, x), up = nn_axis_place(&p->y, y);
    return (point){(int)lround(10 * (p->left + across * (p->right - p->left))),
                   (int)lround(10 * (p->bottom - up * (p->bottom - p->top)))};
}

static double x_of(const nn_curve *c, int64_t i) { return c->x != NULL ? c->x[i] : (double)(i + 1); }

/* What is drawn of a run of points in one column, half a pixel wide. */
typedef struct column {
    int count;
    point first, least, most, last;
} column;

static void put_point(const plot *p, char command, point a) {
    fprintf(p->out, "%c%d.%d %d.%d", command, a.x / 10, a.x % 10, a.y / 10, a.y % 10);
}

static void end_column(const plot *p, column *c, char *command) {
    if (c->count == 0) return;
    const point all[] = {c->first, c->least, c->most, c->last};
    for (int i = 0; i < 4; i++) {
        if (i > 0 && all[i].x == all[i - 1].x && all[i].y == all[i - 1].y) continue;
        put_point(p, *command, all[i]);
        *command = 'L';
    }
    c->count = 0;
}

static void add_to_column(const plot *p, column *c, point a, char *command) {
    if (c->count > 0 && a.x / 5 != c->first.x / 5) end_column(p, c, command);
    if (c->count == 0) c->first = c->least = c->most = a;
    if (a.y < c->least.y) c->least = a;
    if (a.y > c->most.y) c->most = a;
    c->last = a;
    c->count++;
}

/* A stretch without gaps; a point alone is a line without length, whose ends are round. */
static void put_curve(const plot *p, int k) {
    const nn_curve *curve = &p->curves[k];
    column c = {0};
    char command = 'M';
    int64_t stretch = 0;
    point a = {0, 0};
    open_path(p, k);
    for (int64_t i = 0; i <= curve->count; i++) {
        bool gap = i == curve->count || !nn_axis_has(&p->x, x_of(curve, i)) || !nn_axis_has(&p->y, curve->y[i]);
        if (!gap) {
            a = place(p, x_of(curve, i), curve->y[i]);
            add_to_column(p, &c, a, &command);
            stretch++;
            continue;
        }
        end_column(p, &c, &command);
        if (stretch == 1) (void)fputs("h0", p->out);
        command = 'M';
        stretch = 0;
    }
    (void)fputs("\"/>\n", p->out);
}

/* ---- the picture ---- */

static void put_style(const plot *p) {
    (void)fputs("<style>\n"
                "svg{--s:#fcfcfb;--t:#0b0b0b;--m:#52514e;--g:#e4e3df;--a:#8a8983}\n",
                p->out);
    for (int i = 0; i < COLOURS; i++) fprintf(p->out, ".c%d{stroke:%s}", i, light[i]);
    (void)fputs("\n@media(prefers-color-scheme:dark){"
                "svg{--s:#1a1a19;--t:#ffffff;--m:#c3c2b7;--g:#343432;--a:#7d7c76}\n",
                p->out);
    for (int i = 0; i < COLOURS; i++) fprintf(p->out, ".c%d{stroke:%s}", i, dark[i]);
    (void)fputs("}\ntext{font:12px system-ui,sans-serif;fill:var(--m)}.h{font-size:15px;font-weight:600;fill:var(--t)}"
                ".l{fill:var(--t)}.e{text-anchor:end}.m{text-anchor:middle}\n"
                "path{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
                ".g{stroke:var(--g);stroke-width:1}.a{stroke:var(--a);stroke-width:1}\n</style>\n",
                p->out);
}

static void put_axes(const plot *p) {
    for (int i = 0; i < p->y.count; i++) {
        int at = (int)lround(p->bottom - nn_axis_place(&p->y, p->y.ticks[i].at) * (p->bottom - p->top));
        fprintf(p->out, "<path class=\"g\" d=\"M%d %d.5H%d\"/>", p->left, at, p->right);
        put_label(p, p->left - 8, at + 4, "e", p->y.ticks[i].text);
    }
    for (int i = 0; i < p->x.count; i++) {
        int at = (int)lround(p->left + nn_axis_place(&p->x, p->x.ticks[i].at) * (p->right - p->left));
        fprintf(p->out, "<path class=\"a\" d=\"M%d.5 %dv4\"/>", at, p->bottom);
        put_label(p, at, p->bottom + 18, "m", p->x.ticks[i].text);
    }
    fprintf(p->out, "<path class=\"a\" d=\"M%d %d.5H%d\"/>\n", p->left, p->bottom, p->right);
    if (p->o->x_label != NULL) put_label(p, (p->left + p->right) / 2, p->height - 8, "m", p->o->x_label);
    if (p->o->y_label == NULL) return;
    fprintf(p->out, "<text transform=\"translate(16 %d) rotate(-90)\" class=\"m\">", (p->top + p->bottom) / 2);
    put_text(p->out, p->o->y_label);
    (void)fputs("</text>\n", p->out);
}

static void put_all(plot *p, int legend_top) {
    fprintf(p->out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n",
            p->width, p->height, p->width, p->height);
    if (p->o->title != NULL) {
        (void)fputs("<title>", p->out);
        put_text(p->out, p->o->title);
        (void)fputs("</title>\n", p->out);
    }
    put_style(p);
    fprintf(p->out, "<rect width=\"%d\" height=\"%d\" fill=\"var(--s)\"/>\n", p->width, p->height);
    if (p->o->title != NULL) put_label(p, p->left, 26, "h", p->o->title);
    (void)legend(p, legend_top, true);
    put_axes(p);
    for (int k = 0; k < p->count; k++) put_curve(p, k);
    (void)fputs("</svg>\n", p->out);
}

static void see_all(plot *p) {
    for (int k = 0; k < p->count; k++)
        for (int64_t i = 0; i < p->curves[k].count; i++) {
            double x = x_of(&p->curves[k], i), y = p->curves[k].y[i];
            if (!nn_axis_has(&p->x, x) || !nn_axis_has(&p->y, y)) continue;
            nn_axis_see(&p->x, x);
            nn_axis_see(&p->y, y);
        }
}

/* Margins are as wide as what stands in them; returns where the legend is. */
static int lay_out(plot *p) {
    int labels = 0, top = p->o->title != NULL ? 36 : 10;
    for (int i = 0; i < p->y.count; i++) {
        int width = text_width(p->y.ticks[i].text);
        labels = width > labels ? width : labels;
    }
    p->left = 14 + labels + (p->o->y_label != NULL ? LINE : 0);
    p->right = p->width - 26;
    p->top = top + legend(p, top, false) * LINE + 10;
    p->bottom = p->height - 30 - (p->o->x_label != NULL ? LINE : 0);
    if (p->bottom < p->top + 10) p->bottom = p->top + 10; /* more legend than picture */
    return top;
}

void nn_curves_svg(const char *path, const nn_curve *curves, int count, const nn_curves_options *options, nn_error *e) {
    static const nn_curves_options plain;
    const nn_curves_options *o = options != NULL ? options : &plain;
    plot p = {.o = o, .curves = curves, .count = count};
    p.width = o->width != 0 ? o->width : 720;
    p.height = o->height != 0 ? o->height : 400;
    p.x.log = o->log_x;
    p.y.log = o->log_y;
    if (!nn_ok(e)) return;
    if (p.width < LEAST || p.height < LEAST || p.width > MOST || p.height > MOST)
        nn_fail(e, AG_ERR_VALUE, "curves: %d x %d pixels, not %d to %d", p.width, p.height, LEAST, MOST);
    if (count < 0) nn_fail(e, AG_ERR_VALUE, "curves: there are %d of them", count);
    if (count > 0) (void)nn_given(curves, "curves: the array of curves", e);
    for (int k = 0; k < count && nn_ok(e); k++)
        if (curves[k].count < 0 || (curves[k].count > 0 && curves[k].y == NULL))
            nn_fail(e, AG_ERR_VALUE, "curves: number %d has %" PRId64 " points, or no numbers", k, curves[k].count);
    nn_replacement r = nn_replace_begin(path, e);
    if (r.file != NULL) {
        see_all(&p);
        nn_axis_finish(&p.x, 0.01, p.width / 90 < 10 ? p.width / 90 : 10);
        nn_axis_finish(&p.y, 0.04, p.height / 70 < 8 ? p.height / 70 : 8);
        p.out = r.file;
        put_all(&p, lay_out(&p));
    }
    nn_replace_end(&r, e);
}
