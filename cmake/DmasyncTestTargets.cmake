# SPDX-License-Identifier: MIT
# What the tests are built of, for whoever builds part of them, or all in less time.
set(dmasync_unite "${PROJECT_SOURCE_DIR}/tools/unite")

# `cmake --build ... --target dmasync_<label>_tests` builds what the tests with that label run.
function(dmasync_test_needs label)
    if(NOT TARGET dmasync_${label}_tests)
        add_custom_target(dmasync_${label}_tests)
    endif()
    if(ARGN)
        add_dependencies(dmasync_${label}_tests ${ARGN})
    endif()
endfunction()

# Sets `out` to so many files that have the code of all the sources (tools/unite), neighbours together; with
# DMASYNC_UNITE_TESTS off, to the sources themselves.
function(dmasync_unite out count)
    if(NOT DMASYNC_UNITE_TESTS)
        set(${out} ${ARGN} PARENT_SCOPE)
        return()
    endif()
    set(sources)
    foreach(source IN LISTS ARGN)
        cmake_path(ABSOLUTE_PATH source)
        list(APPEND sources "${source}")
    endforeach()
    list(LENGTH sources all)
    math(EXPR each "(${all} + ${count} - 1) / ${count}")
    set(united)
    while(sources)
        list(SUBLIST sources 0 ${each} part)
        list(REMOVE_ITEM sources ${part})
        list(LENGTH united number)
        set(file "${CMAKE_CURRENT_BINARY_DIR}/united_${number}.cpp")
        add_custom_command(OUTPUT "${file}"
            COMMAND Python3::Interpreter "${dmasync_unite}" --output "${file}" ${part}
            DEPENDS ${part} "${dmasync_unite}")
        list(APPEND united "${file}")
    endwhile()
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # A source's unnamed namespace counts as one of a header here.
        set_source_files_properties(${united} PROPERTIES COMPILE_OPTIONS -Wno-subobject-linkage)
    endif()
    set(${out} ${united} PARENT_SCOPE)
endfunction()
