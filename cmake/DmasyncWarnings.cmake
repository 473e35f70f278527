# SPDX-License-Identifier: MIT
# How the project's own programs are compiled; never exported. The presets make a warning an error.
add_library(dmasync_warnings INTERFACE)
target_compile_options(dmasync_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
