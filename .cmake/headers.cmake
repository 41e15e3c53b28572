# The header-only libraries that some of cohort's headers include. None is required here: a program that uses only the
# codecs needs no Asio, and one without a tracker needs no Boost. Used by the build and by the installed package.
function(cohort_add_headers target)
  foreach(header asio.hpp boost/version.hpp picojson.h)
    string(MAKE_C_IDENTIFIER "COHORT_DIR_OF_${header}" variable)
    find_path(${variable} ${header} PATH_SUFFIXES picojson)
    mark_as_advanced(${variable})
    if(${variable})
      target_include_directories(${target} SYSTEM INTERFACE $<BUILD_INTERFACE:${${variable}}>)
    else()
      message(STATUS "cohort: ${header} not found; the headers that need it will not compile")
    endif()
  endforeach()
endfunction()
