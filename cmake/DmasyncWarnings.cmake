# SPDX-License-Identifier: MIT
# How the project's own programs are compiled; never exported. The presets make a warning an error.
add_library(dmasync_warnings INTERFACE)
target_compile_options(dmasync_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion)

# The library's assertions are on, but where speed is measured, and in a target with the property DMASYNC_WITHOUT_ASSERTIONS.
set(dmasync_is_measured $<CONFIG:Release>)
set(dmasync_is_without $<BOOL:$<TARGET_PROPERTY:DMASYNC_WITHOUT_ASSERTIONS>>)
target_compile_definitions(dmasync_warnings INTERFACE
    $<$<NOT:$<OR:${dmasync_is_measured},${dmasync_is_without}>>:DMASYNC_ASSERTIONS=1>)
