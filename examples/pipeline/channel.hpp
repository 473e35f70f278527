// SPDX-License-Identifier: MIT
#pragma once
/// \file channel.hpp  Hand-over from one stage to the next.

#include "common/channel.hpp"

namespace pipeline {

using common::channel;

} // namespace pipeline
