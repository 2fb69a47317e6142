# Turns migrations/NNNN_what.sql into C: static const char migration_NNNN_what[] = "...";
FNR == 1 {
	if (NR > 1)
		print ";"
	name = FILENAME
	sub(/.*\//, "", name)
	sub(/\.sql$/, "", name)
	print "static const char migration_" name "[] ="
}
{
	gsub(/\\/, "&&")
	gsub(/"/, "\\\"")
	print "\t\"" $0 "\\n\""
}
END {
	print ";"
}
