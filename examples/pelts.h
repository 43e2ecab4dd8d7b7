/* The data of examples/ode.c: what it reads, or the same numbers where there is no file. */
#ifndef EXAMPLES_PELTS_H
#define EXAMPLES_PELTS_H

#include "common.h"

enum { YEARS = 21 };

/* Thousands of hares and lynxes, 1900 to 1920 (Howard, 2009, of the Hudson's Bay Company's books). */
static const double pelts[YEARS][2] = {
    {30, 4},      {47.2, 6.1},  {70.2, 9.8},  {77.4, 35.2}, {36.3, 59.4}, {20.6, 41.7}, {18.1, 19},
    {21.4, 13},   {22, 8.3},    {25.4, 9.1},  {27.1, 7.4},  {40.3, 8},    {57, 12.3},   {76.6, 19.5},
    {52.3, 45.7}, {19.5, 51.1}, {11.2, 29.7}, {7.6, 15.8},  {14.6, 9.7},  {16.2, 10.1}, {24.7, 8.6}};

/* Logarithms of hares and lynxes, year by year. */
static inline void read_pelts(const char *folder, double *logarithms, nn_error *e) {
    static const char *const wanted[] = {" Hare", " Lynx"}; /* as the file's first line has them */
    for (int i = 0; i < 2 * YEARS; i++) logarithms[i] = log(pelts[i / 2][i % 2]);
    if (folder == NULL) return;
    nn_csv_options options = {.columns = wanted, .column_count = 2};
    nn_table table = nn_csv_read(path_in(folder, "hudson-bay-lynx-hare.csv"), &options, e);
    if (e->status == AG_OK && table.values.shape.dim[0] != YEARS) nn_fail(e, AG_ERR_SHAPE, "not %d years", YEARS);
    for (int i = 0; i < 2 * YEARS && e->status == AG_OK; i++) logarithms[i] = log(nn_array_at(&table.values, i));
    nn_table_free(&table);
}

#endif
