# Turns migrations/NNNN_what.sql into C: const char migration_NNNN_what[] = "...";
FNR == 1 {
	if (NR > 1)
		print ";"
	name = FILENAME
	sub(/.*\//, "", name)
	sub(/\.sql$/, "", name)
	print "extern const char migration_" name "[];"
	print "const char migration_" name "[] ="
}
{
	gsub(/\\/, "&&")
	gsub(/"/, "\\\"")
	print "\t\"" $0 "\\n\""
}
END {
	print ";"
}
