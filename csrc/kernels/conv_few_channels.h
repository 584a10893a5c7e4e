// Conv2DBackpropInput to images of few channels, where a vector along the channels would be nearly empty.
#pragma once

#include "kernels/conv.h"
#include "kernels/kernel.h"

namespace rf {

// Whether that beats tiles whose columns are the channels. A function of the geometry and the instruction set alone.
template <class T>
bool few_channels(const ConvGeometry& geometry);

template <class T>
void few_channels_backprop_input(Context& c, const ConvGeometry& geometry, const T* filter, const T* dy, T* dx);

}  // namespace rf
