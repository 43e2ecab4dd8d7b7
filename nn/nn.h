/* nn: models built on autograd, data for them, and whether a gradient that somebody derived by hand is right.
 *
 *   nn/data.h         arrays, files of them, and batches to learn from
 *   nn/metrics.h      how good predictions are
 *   nn/model.h        named parameters and what they start from
 *   nn/layers.h       functions with parameters of their own, and activations
 *   nn/losses.h       what a model is to make small
 *   nn/optimise.h     steps that make it smaller
 *   nn/train.h        steps and epochs of training
 *   nn/keep.h         weights and checkpoints on disk, tables, pictures of graphs, inference as C
 *   nn/plot.h         curves as SVG, images as PNG
 *   nn/derivations.h  derivatives derived by hand: your own C and a catalogue of closed forms, checked
 *
 * No call aborts, exits or prints, except to a file that it is given. */
#ifndef NN_H
#define NN_H

#include <nn/data.h>
#include <nn/derivations.h>
#include <nn/keep.h>
#include <nn/layers.h>
#include <nn/losses.h>
#include <nn/metrics.h>
#include <nn/model.h>
#include <nn/optimise.h>
#include <nn/plot.h>
#include <nn/train.h>

#endif
