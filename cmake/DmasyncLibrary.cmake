# SPDX-License-Identifier: MIT
# The two libraries: dmasync::dmasync with the io_uring event loop, dmasync::core without it and without liburing.

# GLOBAL: a project that embeds this one links against the imported targets from its own directories.
find_package(Threads REQUIRED GLOBAL)

file(GLOB_RECURSE dmasync_headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/dmasync/*.hpp")

function(dmasync_add_header_library name)
    add_library(${name} INTERFACE)
    target_sources(${name} INTERFACE FILE_SET HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}/include" FILES ${ARGN})
    target_compile_features(${name} INTERFACE cxx_std_20)
    target_link_libraries(${name} INTERFACE Threads::Threads)
    # One program has either kind: inline functions differ between them. CMake refuses a target that links both.
    set_property(TARGET ${name} APPEND PROPERTY COMPATIBLE_INTERFACE_BOOL DMASYNC_URING)
endfunction()

set(dmasync_core_headers ${dmasync_headers})
list(FILTER dmasync_core_headers EXCLUDE REGEX "/uring_loop\\.hpp$")
dmasync_add_header_library(dmasync_core ${dmasync_core_headers})
add_library(dmasync::core ALIAS dmasync_core)
target_compile_definitions(dmasync_core INTERFACE DMASYNC_WITHOUT_URING)
set_target_properties(dmasync_core PROPERTIES EXPORT_NAME core INTERFACE_DMASYNC_URING OFF)

if(DMASYNC_WITH_URING)
    find_package(Liburing 2.3 REQUIRED GLOBAL)
    dmasync_add_header_library(dmasync ${dmasync_headers})
    add_library(dmasync::dmasync ALIAS dmasync)
    target_link_libraries(dmasync INTERFACE Liburing::Liburing)
    set_target_properties(dmasync PROPERTIES INTERFACE_DMASYNC_URING ON)
endif()
